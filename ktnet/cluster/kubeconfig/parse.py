"""From the text of kubeconfig files to what they say: pure.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import yaml

from ktnet.cluster.kubeconfig.execcredential import GROUP
from ktnet.cluster.kubeconfig.model import (
    Cluster,
    Context,
    ExecPlugin,
    Impersonation,
    Kubeconfig,
    User,
)
from ktnet.errors import UsageError

T = TypeVar("T")

PLUGIN_EXTENSION = f"{GROUP}/exec"
"""Of a cluster: what it has to say to its users' exec plugins."""


def parse_kubeconfig(data: bytes, path: str) -> Kubeconfig:
    """What the file of that absolute path says; an empty one says nothing.

    Relative paths in it count from its own directory. Fields that kubectl doesn't know are passed
    over, as it does. Raises UsageError for anything that isn't a kubeconfig.
    """
    top = _Fields(_load(data, path), path)
    version, kind = top.text("apiVersion"), top.text("kind")
    if version not in ("", "v1") or kind not in ("", "Config"):
        raise UsageError(
            f"{path} is no kubeconfig: it is a {kind or 'Config'} of {version or 'v1'}"
        )
    return Kubeconfig(
        current_context=top.text("current-context"),
        clusters=top.named("clusters", "cluster", _parse_cluster),
        users=top.named("users", "user", _parse_user),
        contexts=top.named("contexts", "context", _parse_context),
    )


def merge_kubeconfigs(files: Iterable[Kubeconfig]) -> Kubeconfig:
    """All of them as one: whatever several say, the first is right, entry by entry as a whole."""
    current = ""
    clusters: dict[str, Cluster] = {}
    users: dict[str, User] = {}
    contexts: dict[str, Context] = {}
    for each in files:
        current = current or each.current_context
        clusters = each.clusters | clusters
        users = each.users | users
        contexts = each.contexts | contexts
    return Kubeconfig(current, clusters, users, contexts)


def _parse_cluster(fields: _Fields) -> Cluster:
    extensions = fields.named("extensions", "extension", lambda each: each.value, shaped=False)
    return Cluster(
        server=fields.text("server"),
        tls_server_name=fields.text("tls-server-name"),
        insecure_skip_tls_verify=fields.flag("insecure-skip-tls-verify"),
        certificate_authority=fields.file("certificate-authority"),
        certificate_authority_data=fields.octets("certificate-authority-data"),
        proxy_url=fields.text("proxy-url"),
        disable_compression=fields.flag("disable-compression"),
        plugin_config=extensions.get(PLUGIN_EXTENSION),
    )


def _parse_user(fields: _Fields) -> User:
    plugin = fields.inner("exec")
    provider = fields.inner("auth-provider")
    return User(
        token=fields.text("token"),
        token_file=fields.file("tokenFile"),
        username=fields.text("username"),
        password=fields.text("password"),
        client_certificate=fields.file("client-certificate"),
        client_certificate_data=fields.octets("client-certificate-data"),
        client_key=fields.file("client-key"),
        client_key_data=fields.octets("client-key-data"),
        exec=_parse_plugin(plugin) if plugin is not None else None,
        auth_provider=provider.text("name") or "unnamed" if provider is not None else "",
        impersonation=Impersonation(
            user=fields.text("as"),
            uid=fields.text("as-uid"),
            groups=fields.texts("as-groups"),
            extra=fields.text_lists("as-user-extra"),
        ),
    )


def _parse_plugin(fields: _Fields) -> ExecPlugin:
    version = fields.text("apiVersion")
    mode = fields.text("interactiveMode")
    if not mode and version == f"{GROUP}/v1beta1":
        mode = "IfAvailable"  # what it means by silence; v1 wants it said
    command = fields.text("command")
    return ExecPlugin(
        # A bare name is one of $PATH.
        command=fields.file("command") if "/" in command else command,
        api_version=version,
        args=fields.texts("args"),
        env=tuple((each.text("name"), each.text("value")) for each in fields.each("env")),
        install_hint=fields.text("installHint"),
        provide_cluster_info=fields.flag("provideClusterInfo"),
        interactive_mode=mode,
    )


def _parse_context(fields: _Fields) -> Context:
    return Context(fields.text("cluster"), fields.text("user"), fields.text("namespace"))


class _Fields:
    """An object of the file, and where in the file it is, for whoever has to mend it."""

    def __init__(self, value: Any, path: str, where: str = "") -> None:
        self._path = path
        self._where = where
        self.value = value
        if value is not None and not isinstance(value, dict):
            raise self.wrong("", f"must be an object, not {_say(value)}")

    def wrong(self, key: str, why: str) -> UsageError:
        """The error for a field."""
        where = f"{self._where}.{key}".strip(".")
        return UsageError(
            f"{self._path} is no kubeconfig: {where or 'it'} {why}",
            hint="does kubectl work with it?",
        )

    def _take(self, key: str, kind: type[T], what: str, absent: T) -> T:
        value = (self.value or {}).get(key)
        if value is None:
            return absent
        if not isinstance(value, kind):
            raise self.wrong(key, f"must be {what}, not {_say(value)}")
        return value

    def text(self, key: str) -> str:
        text = self._take(key, str, "text", "")
        if "\0" in text:
            raise self.wrong(key, "has a NUL in it")
        return text

    def flag(self, key: str) -> bool:
        return self._take(key, bool, "true or false", False)

    def octets(self, key: str) -> bytes:
        """Base64, also broken over several lines."""
        text = "".join(self.text(key).split())
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.wrong(key, f"is not base64: {error}") from error

    def file(self, key: str) -> str:
        """An absolute path, or nothing."""
        name = self.text(key)
        return posixpath.join(posixpath.dirname(self._path), name) if name else ""

    def texts(self, key: str) -> tuple[str, ...]:
        return self._texts(key, self._take(key, list, "a list", []))

    def _texts(self, key: str, values: list[Any]) -> tuple[str, ...]:
        if not all(isinstance(each, str) and "\0" not in each for each in values):
            raise self.wrong(key, "must be a list of texts")
        return tuple(values)

    def text_lists(self, key: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        inner = self.inner(key)
        if inner is None:
            return ()
        names = inner._texts(key, list(inner.value))
        return tuple((name, inner.texts(name)) for name in names)

    def inner(self, key: str) -> _Fields | None:
        value = (self.value or {}).get(key)
        return None if value is None else _Fields(value, self._path, f"{self._where}.{key}")

    def each(self, key: str) -> list[_Fields]:
        found = self._take(key, list, "a list", [])
        return [
            _Fields(one, self._path, f"{self._where}.{key}[{number}]")
            for number, one in enumerate(found)
        ]

    def named(
        self, key: str, inner: str, parse: Callable[[_Fields], T], *, shaped: bool = True
    ) -> dict[str, T]:
        """A list of {name: ..., <inner>: ...}; what is not `shaped` may be anything."""
        found: dict[str, T] = {}
        for each in self.each(key):
            name = each.text("name")
            if name in found:
                raise self.wrong(key, f"has two entries of the name {name!r}")
            where = f"{self._where}.{key}[{name}].{inner}".strip(".")
            value = (each.value or {}).get(inner)
            fields = _Fields(value if shaped else None, self._path, where)
            if not shaped:
                fields.value = value
            found[name] = parse(fields)
        return found


class _Loader(yaml.SafeLoader):
    """YAML as JSON has it: what looks like a date is text, as it is for kubectl."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load(data: bytes, path: str) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no kubeconfig: it is not UTF-8") from error
    try:
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text)  # which, unlike YAML, may be indented with tabs
            except ValueError:
                pass  # YAML has a flow style that looks alike
        return yaml.load(text, _Loader)  # noqa: S506  a subclass of SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{path} is not valid YAML: {why}") from error
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        # Scalars and keys that PyYAML takes for something and then can't make that of them.
        raise UsageError(f"{path} is not valid YAML: {error}") from error


def _say(value: Any) -> str:
    """What it is, for people; never what it says, which may be a secret."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "a number")
