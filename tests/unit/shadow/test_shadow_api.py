"""The shadow's own requests to the API server, against servers that speak TLS and say anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ktnet.lab.api.tls import build_certificates
from ktnet.shadow.api.account import Account, find_account
from ktnet.shadow.api.answer import Answer, ApiRefused, ApiUnreachable
from ktnet.shadow.api.client import ApiClient

CERTIFICATES = build_certificates(["127.0.0.1"])
OTHERS = build_certificates(["127.0.0.1"])


def answer(body: str, status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *fields, "", body]
    return "\r\n".join(lines).encode()


class Server:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.client = ApiClient(account, timeout_s=5)
        self.requests: list[tuple[str, dict[str, str], str]] = []


@asynccontextmanager
async def open_server(tmp_path, *says: bytes | Callable[[], bytes]) -> AsyncIterator[Server]:
    """One answer for each connection, the last one for all others; b"" is none at all."""
    left = list(says)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        fields = dict(each.split(": ", 1) for each in lines)
        body = await reader.readexactly(int(fields.get("Content-Length", 0)))
        server.requests.append((line, fields, body.decode()))
        said = left.pop(0) if len(left) > 1 else left[0]
        writer.write(said() if callable(said) else said)
        if said:
            writer.close()
        else:
            await reader.read()  # until the client has had enough

    listener = await asyncio.start_server(
        serve, "127.0.0.1", 0, ssl=CERTIFICATES.build_server_context()
    )
    (tmp_path / "ca.crt").write_text(CERTIFICATES.ca_pem)
    (tmp_path / "token").write_text("first\n")
    server = Server(Account("127.0.0.1", listener.sockets[0].getsockname()[1], tmp_path))
    try:
        yield server
    finally:
        listener.close()


def test_a_patch_is_sent_as_one_and_the_token_is_read_for_each_request(tmp_path):
    async def check() -> None:
        async with open_server(tmp_path, answer('{"kind": "Deployment"}')) as server:
            operations = [{"op": "test", "path": "/a", "value": "ü"}]
            patch = server.client.patch("deployments", "demo", "shop", operations, dry_run=True)
            assert await patch == {"kind": "Deployment"}
            (tmp_path / "token").write_text("second")
            await server.client.get("services", "demo", "a/../b")
            await server.client.delete("services", "demo", "shop")
        (line, fields, body), (got, later, nothing), (deleted, _, options) = server.requests
        path = "/apis/apps/v1/namespaces/demo/deployments/shop"
        assert line == f"PATCH {path}?dryRun=All HTTP/1.1"
        assert fields["Content-Type"] == "application/json-patch+json"
        assert fields["Authorization"] == "Bearer first"
        assert fields["Host"] == f"127.0.0.1:{server.account.port}"
        assert json.loads(body) == operations
        assert (got, nothing) == ("GET /api/v1/namespaces/demo/services/a%2F..%2Fb HTTP/1.1", "")
        assert later["Authorization"] == "Bearer second"
        assert deleted == "DELETE /api/v1/namespaces/demo/services/shop HTTP/1.1"
        assert json.loads(options)["propagationPolicy"] == "Background"

    asyncio.run(check())


def test_a_list_is_read_page_by_page(tmp_path):
    first = answer('{"items": [{"n": 1}], "metadata": {"continue": "a&b"}}')
    chunks = b"9\r\n" + b'{"items":' + b"\r\n1a\r\n" + b'[{"n": 2}], "metadata": {}' + b"\r\n"
    last = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"1\r\n}\r\n0\r\n\r\n"
    )

    async def check() -> None:
        async with open_server(tmp_path, first, last) as server:
            found = await server.client.list_all("leases", "demo", {"a": "b"})
        assert found == [{"n": 1}, {"n": 2}]
        assert [line.split()[1].partition("?")[2] for line, *_ in server.requests] == [
            "limit=100&labelSelector=a%3Db",
            "limit=100&labelSelector=a%3Db&continue=a%26b",
        ]

    asyncio.run(check())


@pytest.mark.parametrize(
    ("said", "status", "message"),
    [
        (answer('{"message": "no"}', "422 Unprocessable Entity"), 422, "no"),
        (answer("<html>", "503 Service Unavailable"), 503, ""),
        (answer("", "302 Found", "Location: https://127.0.0.1/"), 302, ""),
        (answer('{"message": ["?"]}', "403 Forbidden"), 403, ""),
    ],
)
def test_what_the_server_refuses_is_an_error_with_its_status(tmp_path, said, status, message):
    async def check() -> None:
        async with open_server(tmp_path, said) as server:
            with pytest.raises(ApiRefused) as refused:
                await server.client.get("services", "demo", "shop")
        assert (refused.value.status, str(refused.value)) == (status, f"{status}: {message}")
        assert len(server.requests) == 1

    asyncio.run(check())


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-other\r\n",
        answer("[]"),
        answer("{"),
        answer("[" * 100_000),
        answer("{}")[:-1],
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b" " * 9_000_000,
    ],
)
def test_what_is_no_whole_answer_is_never_taken_for_one(tmp_path, said):
    async def check() -> None:
        async with open_server(tmp_path, said) as server:
            with pytest.raises(ApiUnreachable):
                await server.client.get("services", "demo", "shop")

    asyncio.run(check())


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_the_bound(tmp_path):
    async def check() -> None:
        async with open_server(tmp_path, b"") as server:
            with pytest.raises(ApiUnreachable, match=r"no answer within 0\.2 s"):
                await ApiClient(server.account, timeout_s=0.2).get("services", "demo", "shop")

    asyncio.run(check())


def test_who_is_not_the_clusters_api_server_gets_no_token(tmp_path):
    async def check() -> None:
        async with open_server(tmp_path, answer("{}")) as server:
            (tmp_path / "ca.crt").write_text(OTHERS.ca_pem)
            with pytest.raises(ApiUnreachable, match="certificate verify failed"):
                await server.client.get("services", "demo", "shop")
            (tmp_path / "ca.crt").write_text(CERTIFICATES.ca_pem)
            by_name = Account("localhost", server.account.port, tmp_path)
            with pytest.raises(ApiUnreachable, match="certificate verify failed"):
                await ApiClient(by_name).get("services", "demo", "shop")
        assert server.requests == []

    asyncio.run(check())


def test_an_account_that_is_not_there_or_broken_is_said_so(tmp_path):
    account = find_account({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert (account.host, account.port) == ("fd00::1", 443)
    with pytest.raises(ApiUnreachable, match="token of the account: No such file"):
        account.read_token()
    for token in ("", "a b", "a\r\nX: y", "\x00", "é"):
        (tmp_path / "token").write_text(token)
        with pytest.raises(ApiUnreachable, match="no token"):
            account.read_token()
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ApiUnreachable, match="authority"):
        account.build_trust()
    for wrong in ({}, {"KUBERNETES_SERVICE_HOST": "x", "KUBERNETES_SERVICE_PORT": "tcp://x"}):
        with pytest.raises(ApiUnreachable, match="no container of a cluster"):
            find_account(wrong)


def test_an_answer_comes_byte_by_byte_and_behind_others():
    found = Answer()
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    for byte in early + answer('{"a": 1}') + answer('{"b": 2}'):
        found.feed(bytes([byte]))
    assert found.is_whole
    assert found.read() == {"a": 1}
