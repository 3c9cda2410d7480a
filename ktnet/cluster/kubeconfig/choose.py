"""What a context of a kubeconfig means, and whether it makes sense: pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ktnet.cluster.kubeconfig.execcredential import VERSIONS
from ktnet.cluster.kubeconfig.model import Cluster, ExecPlugin, Kubeconfig, User
from ktnet.errors import UsageError

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Of RFC 1123: what a namespace may be called."""

_MODES = ("Never", "IfAvailable", "Always")


@dataclass(frozen=True, slots=True)
class Choice:
    """One cluster, and us on it."""

    context: str
    namespace: str
    """"default" where the context names none."""
    cluster: Cluster
    user: User


def choose_context(config: Kubeconfig, wanted: str | None, source: str) -> Choice:
    """The context of that name, else the current one; `source` names the files in errors.

    Raises UsageError as `kubectl` would refuse it: clientcmd.ConfirmUsable of client-go.
    """
    name = wanted or config.current_context
    if not name:
        raise UsageError(
            f"{source}: no context is chosen",
            hint="name one with --context, or choose one with `kubectl config use-context`",
        )
    context = config.contexts.get(name)
    if context is None:
        raise UsageError(
            f"there is no context {name!r} in {source}",
            hint="`kubectl config get-contexts` lists them",
        )
    complain = _Complaint(f"{source}: context {name!r}")
    cluster, user = config.clusters.get(context.cluster), config.users.get(context.user)
    if cluster is None:
        raise complain(f"names no cluster that is there: {context.cluster!r}")
    if user is None:
        raise complain(f"names no user that is there: {context.user!r}")
    if context.namespace and not _LABEL.fullmatch(context.namespace):
        raise complain(f"names {context.namespace!r}, which no namespace can be called")
    _check_user(user, _Complaint(f"{source}: user {context.user!r}"))
    if cluster.insecure_skip_tls_verify and (
        cluster.certificate_authority or cluster.certificate_authority_data
    ):
        raise _Complaint(f"{source}: cluster {context.cluster!r}")(
            "has both insecure-skip-tls-verify and a certificate authority"
        )
    return Choice(name, context.namespace or "default", cluster, user)


def parse_server(url: str, source: str) -> str:
    """The URL of an API server without a slash at its end. Raises UsageError."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("neither https://HOST nor http://HOST")  # noqa: TRY301  one message
        if parts.port == 0:  # itself raises ValueError for what is out of range
            raise ValueError("there is no port 0")  # noqa: TRY301
        parts.hostname.encode("idna")  # a label of more than 63 octets
    except ValueError as error:
        raise UsageError(
            f"{source}: {url!r} is no address of an API server: {error}",
            hint="it looks like https://HOST:PORT",
        ) from error
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _check_user(user: User, complain: _Complaint) -> None:
    if (user.token or user.token_file) and (user.username or user.password):
        raise complain("has both a token and a password: only one way to log in is allowed")
    has_certificate = bool(user.client_certificate or user.client_certificate_data)
    if has_certificate and not (user.client_key or user.client_key_data):
        raise complain("has a client certificate without its key")
    if user.auth_provider:
        raise complain(
            f"logs in by the auth-provider {user.auth_provider!r}, which ktnet doesn't have",
            hint="use an exec plugin for it, such as `kubectl oidc-login`",
        )
    if user.exec is not None:
        _check_plugin(user.exec, complain)
    acting_as = user.impersonation
    if (acting_as.uid or acting_as.groups or acting_as.extra) and not acting_as.user:
        raise complain("has as-uid, as-groups or as-user-extra, but no `as`")


def _check_plugin(plugin: ExecPlugin, complain: _Complaint) -> None:
    if not plugin.command or not plugin.api_version:
        missing = "apiVersion" if plugin.command else "command"
        raise complain(f"has an exec plugin without its {missing}")
    if plugin.api_version not in VERSIONS:
        raise complain(
            f"has an exec plugin of {plugin.api_version}; ktnet knows {', '.join(VERSIONS)}"
        )
    if plugin.interactive_mode not in _MODES:
        raise complain(f"has an exec plugin whose interactiveMode is none of {', '.join(_MODES)}")
    if not all(name for name, _ in plugin.env):
        raise complain("has an exec plugin with a variable that has no name")


class _Complaint:
    def __init__(self, about: str) -> None:
        self._about = about

    def __call__(self, why: str, *, hint: str = "does kubectl work with it?") -> UsageError:
        return UsageError(f"{self._about} {why}", hint=hint)
