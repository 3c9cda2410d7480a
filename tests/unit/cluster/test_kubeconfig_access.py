"""As whom requests go out, through what, and what happens when they are refused: over real TLS."""

import asyncio
import base64
import datetime
import gc
import json
import os
import ssl
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from api_peer import open_http_proxy, open_peer, open_socks_proxy
from kubeconfigs import (
    V1,
    V1BETA1,
    Authority,
    build,
    count_runs,
    exec_user,
    write,
    write_answering,
    write_plugin,
)

from ktnet.cluster.config import load_target
from ktnet.cluster.kubeconfig import incluster
from ktnet.cluster.kubeconfig.model import Cluster
from ktnet.cluster.kubeconfig.tls import build_trust
from ktnet.cluster.server.api import open_api
from ktnet.errors import ClusterUnreachable, UsageError
from ktnet.lab.api.tls import build_certificates

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", *PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@asynccontextmanager
async def open_as(tmp_path, peer, user, *, plugin_timeout_s=30.0, **cluster):
    """An Api for this peer by a kubeconfig with that user."""
    fields = {"server": peer.url, "certificate-authority-data": b64(peer.ca_pem), **cluster}
    path = write(tmp_path / "config", build(user, fields))
    async with open_api(load_target(path, None, plugin_timeout_s=plugin_timeout_s)) as api:
        yield api


def ask(tmp_path, user, accept=lambda _: True, *, cluster=None, clients_ca="", **options):
    """What a peer saw of one request as that user."""

    async def main():
        async with (
            open_peer(accept, clients_ca=clients_ca) as peer,
            open_as(tmp_path, peer, user, **(cluster or {}), **options) as api,
        ):
            await api.get("pods", "p", namespace="demo")
        return peer

    return asyncio.run(main())


def with_token(token):
    return lambda request: request.headers.get("Authorization") == f"Bearer {token}"


# --- what stands in the file ---


def test_basic_authentication(tmp_path):
    seen = ask(tmp_path, {"username": "me", "password": "pä:ss"})
    assert seen.authorizations() == [f"Basic {b64('me:pä:ss')}"]


def test_somebody_else_is_acted_as(tmp_path):
    user = {
        "token": "t",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"acme.com/Project": ["a", "b"]},
    }
    (headers,) = ask(tmp_path, user).headers
    assert headers["Authorization"] == "Bearer t"
    assert headers["Impersonate-User"] == "jane"
    assert headers["Impersonate-Uid"] == "7"
    assert headers.getall("Impersonate-Group") == ["dev", "ops"]
    assert headers.getall("Impersonate-Extra-acme.com%2FProject") == ["a", "b"]


def test_an_impersonated_name_that_breaks_out_of_its_header(tmp_path):
    with pytest.raises(UsageError, match="impersonated"):
        ask(tmp_path, {"token": "t", "as": "jane\r\nX-Evil: 1"})


def test_a_token_that_breaks_out_of_its_header(tmp_path):
    with pytest.raises(UsageError, match="no token can have") as raised:
        ask(tmp_path, {"token": "t\r\nX-Evil: 1"})
    assert "Evil" not in raised.value.message


def test_in_the_clear_nothing_secret_is_sent(tmp_path):
    path = write(tmp_path / "config", build({"token": "t", "as": "x"}, {"server": "http://h:1"}))
    headers = asyncio.run(load_target(path, None).access.credentials.build_headers())
    assert headers == [("Impersonate-User", "x")]


def test_a_client_certificate_is_shown_and_its_key_touches_no_disk(tmp_path, monkeypatch):
    authority = Authority()
    certificate, key = authority.issue("dev")
    written = []
    monkeypatch.setattr(os, "write", lambda *arguments: written.append(arguments))
    monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda *_, **__: pytest.fail("a file"))
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    before = set(Path("/proc/self/fd").iterdir())
    assert ask(tmp_path, user, clients_ca=authority.pem).subjects == ["dev"]
    gc.collect()
    assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1  # the loop's own
    assert written == []


def test_a_client_certificate_in_files(tmp_path):
    authority = Authority()
    certificate, key = authority.issue("dev")
    write(tmp_path / "pki" / "cert.pem", certificate)
    write(tmp_path / "pki" / "key.pem", key)
    user = {"client-certificate": "pki/cert.pem", "client-key": "pki/key.pem"}
    assert ask(tmp_path, user, clients_ca=authority.pem).subjects == ["dev"]


def test_a_key_of_another_certificate(tmp_path):
    authority = Authority()
    certificate, key = authority.issue("dev")[0], authority.issue("other")[1]
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    with pytest.raises(UsageError, match="certificate and its key can't be used"):
        ask(tmp_path, user)


def test_an_encrypted_key_asks_nobody_for_a_password(tmp_path):
    encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"
    user = {"client-certificate-data": b64(Authority().pem), "client-key-data": b64(encrypted)}
    with pytest.raises(UsageError, match="can't be used"):
        ask(tmp_path, user)


def test_a_token_that_was_replaced_in_the_kubeconfig(tmp_path):
    """By a login in another terminal: the session goes on with it."""
    valid = ["old"]

    def accept(request):
        return with_token(valid[0])(request)

    async def main():
        async with open_peer(accept) as peer, open_as(tmp_path, peer, {"token": "old"}) as api:
            await api.get("pods", "p", namespace="demo")
            valid[0] = "new"
            with pytest.raises(ClusterUnreachable, match="401"):
                await api.get("pods", "p", namespace="demo")
            text = (tmp_path / "config").read_text()
            (tmp_path / "config").write_text(text.replace("token: old", "token: new"))
            await api.get("pods", "p", namespace="demo")
            await api.dial_websocket("pods", "p", "exec", {}, namespace="n", protocol="x")
        return peer

    seen = asyncio.run(main()).authorizations()
    assert seen == [f"Bearer {token}" for token in ("old", "old", "old", "new", "new")]


# --- what stands in a file of its own ---


def test_a_token_file_comes_before_the_token_and_is_read_again_when_refused(tmp_path):
    (tmp_path / "token").write_text("one\n")
    valid = ["one"]

    def accept(request):
        return with_token(valid[0])(request)

    async def main():
        user = {"token": "zero", "tokenFile": "token"}
        async with open_peer(accept) as peer, open_as(tmp_path, peer, user) as api:
            await api.get("pods", "p", namespace="demo")
            valid[0] = "two"
            (tmp_path / "token").write_text("two\n")
            await api.dial_websocket("pods", "p", "exec", {}, namespace="n", protocol="x")
            valid[0] = "three"
            with pytest.raises(ClusterUnreachable, match="401"):
                await api.get("pods", "p", namespace="demo")
        return peer

    seen = asyncio.run(main()).authorizations()
    # A token that is still the same is not tried twice.
    assert seen == [f"Bearer {token}" for token in ("one", "one", "two", "two")]


def test_a_token_file_is_read_again_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr("ktnet.cluster.kubeconfig.credentials.TOKEN_FILE_PERIOD_S", 0.0)
    (tmp_path / "token").write_text("one")

    async def main():
        async with open_peer() as peer, open_as(tmp_path, peer, {"tokenFile": "token"}) as api:
            await api.get("pods", "p", namespace="demo")
            (tmp_path / "token").write_text("two")
            await api.get("pods", "p", namespace="demo")
            (tmp_path / "token").unlink()  # the last good one has to do
            await api.get("pods", "p", namespace="demo")
        return peer

    assert asyncio.run(main()).authorizations() == ["Bearer one", "Bearer two", "Bearer two"]


def test_a_token_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="token file"):
        ask(tmp_path, {"tokenFile": "nowhere"})


def test_in_a_pod(tmp_path, monkeypatch):
    async def main():
        async with open_peer(with_token("pods-own")) as peer:
            url = urlsplit(peer.url)
            monkeypatch.setenv("HOME", str(tmp_path / "home"))
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(url.hostname))
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(url.port))
            monkeypatch.setattr(incluster, "ACCOUNT", tmp_path)
            for name, text in (("token", "pods-own"), ("ca.crt", peer.ca_pem), ("namespace", "ns")):
                (tmp_path / name).write_text(text)
            target = load_target(None, None)
            async with open_api(target) as api:
                await api.get("pods", "p", namespace="demo")
        return target

    target = asyncio.run(main())
    assert (target.namespace, target.context) == ("ns", "")


# --- exec plugins ---


def test_a_plugin_is_asked_once_and_again_when_its_token_has_expired(tmp_path, monkeypatch):
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for when, runs in ((None, 1), (later.isoformat(), 1), ("2020-01-01T00:00:00Z", 3)):
        plugin = tmp_path / f"login{runs}{when is None}"
        status = {"token": "t", **({"expirationTimestamp": when} if when else {})}
        write_answering(plugin, status)

        async def main(plugin=plugin):
            user = exec_user(str(plugin))
            async with open_peer(with_token("t")) as peer, open_as(tmp_path, peer, user) as api:
                for _ in range(3):
                    await api.get("pods", "p", namespace="demo")

        asyncio.run(main())
        assert count_runs(plugin) == runs


def test_a_refused_plugin_is_run_once_more_for_all_who_were_refused(tmp_path):
    plugin = tmp_path / "login"
    counter = tmp_path / "login.runs"
    write_plugin(
        plugin,
        f"runs = open({str(counter)!r}, 'a+'); runs.write('x'); runs.flush(); runs.seek(0)\n"
        "token = f'token-{len(runs.read())}'\n"
        f"print(json.dumps({{'apiVersion': {V1!r}, 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))",
    )

    async def main():
        async with (
            open_peer(with_token("token-2")) as peer,
            open_as(tmp_path, peer, exec_user(str(plugin))) as api,
        ):
            await asyncio.gather(*(api.get("pods", "p", namespace="demo") for _ in range(5)))

    asyncio.run(main())
    assert count_runs(plugin) == 2


def test_a_plugin_that_stays_refused_is_not_asked_for_ever(tmp_path):
    plugin = tmp_path / "login"
    write_answering(plugin, {"token": "stale"})
    with pytest.raises(ClusterUnreachable, match="401"):
        ask(tmp_path, exec_user(str(plugin)), with_token("good"))
    assert count_runs(plugin) == 2


def test_a_plugin_learns_of_the_cluster_where_it_shall(tmp_path):
    dump = tmp_path / "told"
    answer = {"kind": "ExecCredential", "apiVersion": V1BETA1, "status": {"token": "t"}}
    write_plugin(
        tmp_path / "login",
        f"open({str(dump)!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'] + os.environ['MINE'])\n"
        f"assert sys.argv[1:] == ['a b'] and not sys.stdin.read()\nprint({json.dumps(answer)!r})",
    )
    user = exec_user(
        "./login",
        version=V1BETA1,
        args=["a b"],
        env=[{"name": "MINE", "value": "!"}],
        provideClusterInfo=True,
    )
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    peer = ask(tmp_path, user, cluster={"extensions": [extension]})
    told = json.loads(dump.read_text().removesuffix("!"))
    assert told == {
        "kind": "ExecCredential",
        "apiVersion": V1BETA1,
        "spec": {
            "interactive": False,
            "cluster": {
                "server": peer.url,
                "certificate-authority-data": b64(peer.ca_pem),
                "config": {"audience": "x"},
            },
        },
    }


def test_a_plugins_certificate_rotates_and_connections_with_it(tmp_path):
    authority = Authority()
    plugin = tmp_path / "login"

    def answer_with(name):
        certificate, key = authority.issue(name)
        status = {"clientCertificateData": certificate, "clientKeyData": key}
        write_answering(plugin, {**status, "expirationTimestamp": "2020-01-01T00:00:00Z"})

    async def main():
        answer_with("first")
        async with (
            open_peer(clients_ca=authority.pem) as peer,
            open_as(tmp_path, peer, exec_user(str(plugin))) as api,
        ):
            await api.get("pods", "p", namespace="demo")
            answer_with("second")
            await api.get("pods", "p", namespace="demo")
            await api.dial_websocket("pods", "p", "exec", {}, namespace="n", protocol="x")
        return peer

    assert asyncio.run(main()).subjects == ["first", "second", "second"]


FAILURES = {
    "fails": ("sys.exit('your login has expired\\n  run: login again')", "exit code 1: your login"),
    "is killed": ("os.kill(os.getpid(), 9)", "exit code -9; it said nothing"),
    "prints nothing": ("pass", "no JSON"),
    "prints a page": ("print('<html>S3CRET')", "no JSON"),
    "another version": (
        f"print(json.dumps({{'kind':'ExecCredential','apiVersion':{V1BETA1!r}}}))",
        V1,
    ),
    "no status": (
        f"print(json.dumps({{'kind':'ExecCredential','apiVersion':{V1!r}}}))",
        "no status",
    ),
    "no end": ("while True: print('x' * 65536)", "within 2 s"),
    "too much": ("print('x' * (2 << 20))", "too long"),
}


@pytest.mark.parametrize(("code", "says"), FAILURES.values(), ids=FAILURES)
def test_a_plugin_that_gives_nothing_is_no_reason_to_go_as_nobody(tmp_path, code, says):
    write_plugin(tmp_path / "login", code)
    seen = []
    with pytest.raises(ClusterUnreachable) as raised:
        ask(tmp_path, exec_user("./login"), seen.append, plugin_timeout_s=2.0)
    assert says in raised.value.message
    assert "S3CRET" not in raised.value.message
    assert "\n" not in raised.value.message
    assert seen == []


def test_a_plugin_that_hangs_is_quoted_and_ended_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    write_plugin(
        tmp_path / "login",
        "import subprocess\nsys.stderr.write('waiting for your phone'); sys.stderr.flush()\n"
        f"child = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(1000)",
    )
    with pytest.raises(ClusterUnreachable, match="within 2 s: waiting for your phone"):
        ask(tmp_path, exec_user("./login"), plugin_timeout_s=2.0)
    # They have been sent SIGKILL; that they die of it takes a moment on a busy machine.
    ended = pids.read_text().split()
    assert len(ended) == 2, "it was ended before it had a child"
    give_up_s = time.monotonic() + 10
    while not all(map(is_zombie, ended)):
        assert time.monotonic() < give_up_s, "the plugin or its child is still running"
        time.sleep(0.01)


def test_a_plugin_may_leave_a_daemon(tmp_path):
    """One that keeps a login goes on, though it holds the plugin's pipes."""
    pid = tmp_path / "pid"
    answer = {"kind": "ExecCredential", "apiVersion": V1, "status": {"token": "t"}}
    write_plugin(
        tmp_path / "login",
        f"import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\nprint({json.dumps(answer)!r})",
    )
    assert ask(tmp_path, exec_user("./login")).authorizations() == ["Bearer t"]
    assert not is_zombie(pid.read_text())
    os.kill(int(pid.read_text()), 9)


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_plugin_that_is_not_installed(tmp_path):
    with pytest.raises(UsageError, match="can't be started: No such file") as raised:
        ask(tmp_path, exec_user("no-such-login", installHint="get it from\nour shop"))
    assert raised.value.hint == "get it from our shop"


def test_a_plugin_that_needs_a_terminal(tmp_path):
    with pytest.raises(UsageError, match="needs a terminal"):
        ask(tmp_path, exec_user("x", interactiveMode="Always"))


def test_a_token_in_the_file_comes_before_the_plugin(tmp_path):
    peer = ask(tmp_path, {"token": "t", **exec_user("no-such-login")})
    assert peer.authorizations() == ["Bearer t"]


# --- the way ---


def test_the_server_may_be_known_by_another_name(tmp_path):
    async def main(**cluster):
        async with (
            open_peer(name="kubernetes.default") as peer,
            open_as(tmp_path, peer, {"token": "t"}, **cluster) as api,
        ):
            await api.get("pods", "p", namespace="demo")
        return peer

    assert asyncio.run(main(**{"tls-server-name": "kubernetes.default"})).names == [
        "kubernetes.default"
    ]
    with pytest.raises(ClusterUnreachable, match="not trusted"):
        asyncio.run(main())


def test_verification_may_be_skipped(tmp_path):
    cluster = {"certificate-authority-data": "", "insecure-skip-tls-verify": True}
    assert len(ask(tmp_path, {"token": "t"}, cluster=cluster).headers) == 1


def test_without_an_authority_the_systems_own_are_trusted(tmp_path):
    with pytest.raises(ClusterUnreachable, match="not trusted"):
        ask(tmp_path, {"token": "t"}, cluster={"certificate-authority-data": ""})


def ask_through(tmp_path, opening, proxy_url, *, server="https://api.invalid:6443", ca=""):
    """One request and one WebSocket to a name that only the proxy can know."""

    async def main():
        async with open_peer(name="api.invalid") as peer:
            async with opening(urlsplit(peer.url).port) as (port, seen):
                fields = {"server": server, "proxy-url": proxy_url.format(port=port)}
                fields["certificate-authority-data"] = b64(peer.ca_pem + ca)
                async with open_as(tmp_path, peer, {"token": "t"}, **fields) as api:
                    await api.get("pods", "p", namespace="demo")
                    await api.dial_websocket("pods", "p", "exec", {}, namespace="n", protocol="x")
            return peer, seen

    return asyncio.run(main())


def test_through_an_http_proxy(tmp_path):
    peer, seen = ask_through(tmp_path, open_http_proxy, "http://me:pass@127.0.0.1:{port}")
    assert len(peer.headers) == 2
    assert all(each.startswith("CONNECT api.invalid:6443 ") for each in seen)
    assert all(f"Basic {b64('me:pass')}" in each for each in seen)
    assert "Bearer" not in "".join(seen)


def test_through_an_https_proxy(tmp_path):
    certificates = build_certificates(["127.0.0.1"])

    def opening(to):
        return open_http_proxy(to, context=certificates.build_server_context())

    url = "https://127.0.0.1:{port}"
    peer, seen = ask_through(tmp_path, opening, url, ca=certificates.ca_pem)
    assert len(peer.headers) == len(seen) == 2


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_through_socks(tmp_path, scheme):
    peer, seen = ask_through(tmp_path, open_socks_proxy, scheme + "://me:pass@127.0.0.1:{port}")
    assert len(peer.headers) == 2
    assert seen == 2 * [("me", "pass"), (3, b"api.invalid")]


def test_socks_and_another_name(tmp_path):
    async def main():
        async with open_peer(name="kubernetes") as peer:
            async with open_socks_proxy(urlsplit(peer.url).port) as (port, _):
                fields = {"server": "https://a.invalid", "tls-server-name": "kubernetes"}
                fields["proxy-url"] = f"socks5://127.0.0.1:{port}"
                async with open_as(tmp_path, peer, {"token": "t"}, **fields) as api:
                    await api.get("pods", "p", namespace="demo")
            return peer

    assert asyncio.run(main()).names == ["kubernetes"]


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_a_proxy_that_is_away(tmp_path, scheme):
    async def main():
        async with (
            open_peer() as peer,
            open_as(tmp_path, peer, {}, **{"proxy-url": f"{scheme}://127.0.0.1:1"}) as api,
        ):
            with pytest.raises(ClusterUnreachable, match="can't reach"):
                await api.get("pods", "p", namespace="demo")

    asyncio.run(main())


def test_tls_is_never_older_than_kubectls():
    assert build_trust(Cluster()).minimum_version == ssl.TLSVersion.TLSv1_2
