"""Port-forwards through the lab's API server, TLS included, to real sockets."""

import asyncio
import contextlib
import hashlib
import random
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from api_peer import open_http_proxy, open_socks_proxy
from lab_cluster import open_cluster

from ktnet.cluster.direct import open_direct
from ktnet.cluster.portforward import open_forward
from ktnet.cluster.server.api import open_api
from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.cluster.shadow.session import open_shadow_session
from ktnet.errors import Forbidden, TunnelError
from ktnet.lab.api.tls import build_certificates
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import SSH_PORT

SIZE = 32 << 20
BLOCK = random.Random(7).randbytes(1 << 20)
SPEC = ShadowSpec("demo", "ktnet-shadow:0", "ssh-ed25519 AAAA", timeout_s=5)


@contextlib.asynccontextmanager
async def open_stream(serve):
    """A cluster, a session in it, and a forward to a server that `serve` plays on the SSH port."""
    async with open_cluster() as cluster, contextlib.AsyncExitStack() as stack:
        if serve is not None:
            server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
            await stack.enter_async_context(server)
            cluster.kubelet.ports[SSH_PORT] = server.sockets[0].getsockname()[1]
        session = await stack.enter_async_context(
            open_shadow_session(cluster.api, SPEC, lambda _: None)
        )
        session.streams = await stack.enter_async_context(open_tasks())
        yield cluster, session


async def dial(session):
    reader = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await session.connector(session.streams)(lambda: protocol)
    loop = asyncio.get_running_loop()
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def run(serve, scenario):
    async def main():
        async with asyncio.timeout(60), open_stream(serve) as (cluster, session):
            await scenario(cluster, session)

    asyncio.run(main())


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_echo():
    async def scenario(_cluster, session):
        reader, writer = await dial(session)
        for size in (1, 2, 125, 126, 32768, 32769, 65536, 300_000):
            writer.write(BLOCK[:size])
            assert await reader.readexactly(size) == BLOCK[:size]
        writer.close()
        await writer.wait_closed()

    run(echo, scenario)


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_echo_through_a_proxy(kind):
    async def scenario(cluster, session):
        target = cluster.api.target
        port = urlsplit(target.server).port
        if kind == "socks5":
            opening = open_socks_proxy(port)
        else:
            certificates = build_certificates(["127.0.0.1"])
            target.access.trust.load_verify_locations(cadata=certificates.ca_pem)
            context = certificates.build_server_context() if kind == "https" else None
            opening = open_http_proxy(port, context=context)
        async with opening as (proxy_port, seen):
            access = replace(target.access, proxy=f"{kind}://127.0.0.1:{proxy_port}")
            async with open_api(replace(target, access=access)) as api, open_tasks() as tasks:
                reader = asyncio.StreamReader()
                protocol = asyncio.StreamReaderProtocol(reader)
                transport, _ = await open_forward(
                    api, "demo", session.pod.name, SSH_PORT, lambda: protocol, tasks
                )
                transport.write(BLOCK)
                assert await reader.readexactly(len(BLOCK)) == BLOCK
                transport.close()
            assert seen

    run(echo, scenario)


def test_several_at_once():
    async def scenario(_cluster, session):
        async def one(number):
            reader, writer = await dial(session)
            text = b"%d" % number
            writer.write(text)
            assert await reader.readexactly(len(text)) == text
            writer.close()
            await writer.wait_closed()

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(one(number))

    run(echo, scenario)


def test_what_goes_up_arrives_whole():
    result = {}

    async def serve(reader, writer):
        digest, size = hashlib.sha256(), 0
        while size < SIZE:
            data = await reader.read(1 << 16)
            digest.update(data)
            size += len(data)
        result["up"] = digest.hexdigest()
        writer.write(b"done")
        await writer.drain()
        writer.close()

    async def scenario(_cluster, session):
        reader, writer = await dial(session)
        digest = hashlib.sha256()
        for _ in range(SIZE // len(BLOCK)):
            writer.write(BLOCK)
            digest.update(BLOCK)
            await writer.drain()
        assert await reader.readexactly(4) == b"done"
        assert result["up"] == digest.hexdigest()

    run(serve, scenario)


def test_what_comes_down_arrives_whole_and_then_ends():
    digest = hashlib.sha256(BLOCK * (SIZE // len(BLOCK)))

    async def serve(_reader, writer):
        for _ in range(SIZE // len(BLOCK)):
            writer.write(BLOCK)
            await writer.drain()
        writer.close()

    async def scenario(_cluster, session):
        reader, _writer = await dial(session)
        received, size = hashlib.sha256(), 0
        while data := await reader.read(1 << 18):
            received.update(data)
            size += len(data)
        assert size == SIZE
        assert received.digest() == digest.digest()

    run(serve, scenario)


def test_a_slow_reader_holds_the_pod_back():
    sent = 0

    async def serve(_reader, writer):
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(BLOCK)
                await writer.drain()
                sent += len(BLOCK)

    async def scenario(_cluster, session):
        reader, _writer = await dial(session)
        await reader.readexactly(1)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 64 << 20

    run(serve, scenario)


def test_nothing_listens_there():
    async def scenario(_cluster, session):
        reader, _writer = await dial(session)
        with pytest.raises(TunnelError, match="refused"):
            await reader.read()

    run(None, scenario)


def test_a_pod_that_is_gone():
    async def scenario(cluster, session):
        reader, _ = await dial(session)
        with cluster.store.watch("pods", "demo") as events:
            cluster.store.delete("pods", "demo", session.pod.name, grace_s=0)
            while (await anext(events))[0] != "DELETED":
                pass
        with pytest.raises(TunnelError, match=session.pod.name):
            await dial(session)
        assert reader.at_eof() is False

    run(echo, scenario)


@pytest.mark.parametrize("verb", ["get", "create"])
def test_both_rights_are_needed(verb):
    async def scenario(cluster, session):
        cluster.denied.add((verb, "pods/portforward"))
        with pytest.raises(Forbidden, match=f"{verb} pods/portforward in namespace demo"):
            await dial(session)

    run(echo, scenario)


def test_the_end_of_the_session_ends_its_streams():
    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            cluster.kubelet.ports[SSH_PORT] = server.sockets[0].getsockname()[1]
            async with server:
                async with (
                    open_shadow_session(cluster.api, SPEC, lambda _: None) as session,
                    open_tasks() as session.streams,
                ):
                    reader, writer = await dial(session)
                    writer.write(b"x")
                    await reader.readexactly(1)
                assert await reader.read() == b""
                assert cluster.objects() == []

    asyncio.run(main())


def test_direct_dials_the_address():
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            transport, _ = await open_direct("127.0.0.1", port, asyncio.Protocol)
            transport.close()
        with pytest.raises(TunnelError, match="can't reach the pod"):
            await open_direct("127.0.0.1", port, asyncio.Protocol)

    asyncio.run(main())
