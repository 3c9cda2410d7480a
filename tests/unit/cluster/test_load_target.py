"""Which cluster, as whom, in which namespace; and what is said where that can't be told."""

import asyncio
from dataclasses import replace

import pytest
import yaml
from aiohttp import web
from forward_peer import open_http

from ktnet.cluster.config import load_target
from ktnet.cluster.server.api import open_api
from ktnet.errors import KtnetError, UsageError

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443/"}}],
    "users": [{"name": "u", "user": {"token": "secret-token"}}],
    "contexts": [
        {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "demo"}},
        {"name": "two", "context": {"cluster": "c", "user": "u"}},
        {"name": "lost", "context": {"cluster": "nowhere", "user": "u"}},
    ],
}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def kubeconfig(tmp_path):
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    return str(path)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", *PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)


def load(kubeconfig=None, context=None):
    return load_target(kubeconfig, context)


def headers_of(target):
    return asyncio.run(target.access.credentials.build_headers())


def fail(kubeconfig=None, context=None):
    with pytest.raises(UsageError) as raised:
        load(kubeconfig, context)
    assert raised.value.exit_code == 2
    return raised.value


def test_the_current_context_says_where_and_as_whom(kubeconfig):
    target = load(kubeconfig)
    assert (target.server, target.namespace, target.context) == (
        "https://192.0.2.1:6443",
        "demo",
        "one",
    )
    assert headers_of(target) == [("Authorization", "Bearer secret-token")]


def test_another_context_can_be_asked_for(kubeconfig):
    target = load(kubeconfig, "two")
    assert (target.namespace, target.context) == ("default", "two")


def test_the_environment_names_one(kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", f"/nonexistent/one:{kubeconfig}")
    assert load().context == "one"


def test_home_has_the_default(tmp_path):
    path = tmp_path / "home" / ".kube" / "config"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(KUBECONFIG))
    assert load().context == "one"


@pytest.mark.parametrize(
    "server",
    [
        "",
        "192.0.2.1:6443",
        "ftp://192.0.2.1",
        "https://",
        "https://[::1",
        "https://192.0.2.1:99999",
        "https://192.0.2.1:http",
        f"https://{'a' * 64}.example",
    ],
)
def test_what_is_no_address_of_a_server(tmp_path, server):
    path = tmp_path / "config"
    clusters = [{"name": "c", "cluster": {"server": server}}]
    path.write_text(yaml.safe_dump(KUBECONFIG | {"clusters": clusters}))
    assert "https://HOST:PORT" in fail(str(path)).hint


def test_none_at_all():
    error = fail()
    assert "no kubeconfig" in error.message
    assert "--kubeconfig" in error.hint


def test_a_file_that_is_not_there():
    assert "/nonexistent/config" in fail("/nonexistent/config").message


def test_an_unknown_context(kubeconfig):
    error = fail(kubeconfig, "three")
    assert "no context 'three'" in error.message


def test_a_context_of_an_unknown_cluster(kubeconfig):
    assert "nowhere" in fail(kubeconfig, "lost").message


@pytest.mark.parametrize(
    "text",
    [
        "a: [b",
        "",
        "just text",
        "[]",
        "clusters: 7",
        "contexts: [1]",
        "contexts: [{name: one}]\ncurrent-context: one",
        "\x00\x01",
    ],
)
def test_what_is_no_kubeconfig(tmp_path, text):
    path = tmp_path / "broken"
    path.write_text(text)
    assert str(path) in fail(str(path)).message


def test_a_directory_is_no_kubeconfig(tmp_path):
    assert str(tmp_path) in fail(str(tmp_path)).message


def test_a_pod_without_a_usable_service_account(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert "service account" in fail().message


def test_the_environment_may_name_a_proxy(kubeconfig, monkeypatch):
    assert load(kubeconfig).access.proxy is None
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.9:3128")
    assert load(kubeconfig).access.proxy == "http://192.0.2.9:3128"
    monkeypatch.setenv("NO_PROXY", "example.com,192.0.2.1")
    assert load(kubeconfig).access.proxy is None


def test_netrc_has_no_say(kubeconfig, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen = []

    async def handler(request):
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    async def main():
        target = load_target(kubeconfig, None)
        async with open_http(handler) as plain:
            here = replace(target, server=plain.target.server)
            async with open_api(here) as api:
                await api.get("pods", "p", namespace="demo")
                with pytest.raises(KtnetError):
                    await api.dial_websocket("pods", "p", "exec", {}, namespace="n", protocol="x")

    asyncio.run(main())
    assert seen == ["Bearer secret-token"] * 2
