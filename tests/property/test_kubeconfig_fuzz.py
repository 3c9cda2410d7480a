"""Whatever a file or a plugin says is read, or refused in the way that was promised."""

import json
from contextlib import suppress
from urllib.parse import urlsplit

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.cluster.kubeconfig.choose import choose_context, parse_server
from ktnet.cluster.kubeconfig.execcredential import (
    VERSIONS,
    is_header_text,
    parse_exec_credential,
)
from ktnet.cluster.kubeconfig.model import Kubeconfig
from ktnet.cluster.kubeconfig.parse import merge_kubeconfigs, parse_kubeconfig
from ktnet.cluster.kubeconfig.proxies import choose_proxy
from ktnet.errors import UsageError

KEYS = [
    *("apiVersion", "kind", "current-context", "clusters", "users", "contexts", "name", "cluster"),
    *("user", "context", "server", "token", "tokenFile", "exec", "command", "args", "env", "value"),
    *("certificate-authority-data", "client-key-data", "client-certificate", "extensions"),
    *("extension", "as", "as-groups", "as-user-extra", "namespace", "proxy-url", "auth-provider"),
    *("insecure-skip-tls-verify", "interactiveMode", "provideClusterInfo"),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["v1", "Config", "Never", "one", "YQ==", "https://h:1", *VERSIONS]),
)
SHAPES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=30,
)


def read(data: bytes) -> Kubeconfig | None:
    """None where it is refused; anything else that is raised is a bug."""
    try:
        return parse_kubeconfig(data, "/dir/config")
    except UsageError:
        return None


@given(st.binary(max_size=200))
def test_any_bytes(data):
    read(data)


@given(st.text(alphabet="{}[]:,-&*!<>|#'\"%@ \n\tab01.~=", max_size=60))
def test_any_text_that_might_be_yaml(text):
    read(text.encode())


@given(SHAPES, st.sampled_from(["json", "yaml"]))
@settings(max_examples=300)
def test_any_shape(value, form):
    text = json.dumps(value) if form == "json" else yaml.safe_dump(value)
    config = read(text.encode())
    if config is None:
        return
    for name in [None, *config.contexts]:
        try:
            choice = choose_context(config, name, "f")
            parse_server(choice.cluster.server, "f")
        except UsageError:
            continue


CONFIGS = st.builds(
    Kubeconfig,
    current_context=st.sampled_from(["", "a", "b"]),
    contexts=st.dictionaries(st.sampled_from("abc"), st.integers()),
)


@given(st.lists(CONFIGS, max_size=4))
def test_of_several_files_the_first_that_says_something_is_right(files):
    merged = merge_kubeconfigs(files)
    for name in "abc":
        said = [each.contexts[name] for each in files if name in each.contexts]
        assert merged.contexts.get(name) == (said[0] if said else None)
    said = [each.current_context for each in files if each.current_context]
    assert merged.current_context == (said[0] if said else "")


@given(st.text(max_size=30) | st.from_regex(r"https?://[^\s]{0,20}"))
def test_a_server_is_one_that_can_be_dialled(text):
    try:
        server = parse_server(text, "f")
    except UsageError:
        return
    assert urlsplit(server).hostname
    choose_proxy(server, "", {})


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_environment(proxy, exempt):
    environ = {"HTTPS_PROXY": proxy, "NO_PROXY": exempt}
    try:
        found = choose_proxy("https://10.0.0.1:6443", "", environ)
    except UsageError:
        return
    assert found is None or urlsplit(found).hostname


@given(st.binary(max_size=100) | SHAPES.map(lambda shape: json.dumps(shape).encode()))
def test_whatever_a_plugin_prints(output):
    with suppress(ValueError):
        parse_exec_credential(output, VERSIONS[0])


STATUSES = st.fixed_dictionaries(
    {},
    optional={
        name: SCALARS | st.sampled_from(["2030-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
        for name in ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
    },
)


@given(STATUSES)
def test_whatever_a_plugin_answers(status):
    """What it gives is sent; what can't be isn't given."""
    answer = {"kind": "ExecCredential", "apiVersion": VERSIONS[0], "status": status}
    try:
        found = parse_exec_credential(json.dumps(answer).encode(), VERSIONS[0])
    except ValueError:
        return
    assert found.token or found.certificate
    assert bool(found.certificate) == bool(found.key)
    assert is_header_text(found.token)
