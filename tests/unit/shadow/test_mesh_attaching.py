"""A laptop attaches to a router over real SSH: what it gets, and what it doesn't."""

import asyncio
import getpass
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from ktnet.errors import Conflict, TunnelError
from ktnet.link.connection import open_link
from ktnet.link.keys import new_client_key
from ktnet.shadow.destinations import Origin
from ktnet.shadow.hostkey import build_public_key, new_host_key
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh.attaching import RouterServer
from ktnet.shadow.mesh.members import Members
from ktnet.shadow.resolver import Resolver
from ktnet.shadow.router.listener import Expected, open_router_port
from ktnet.shadow.router.table import Table
from ktnet.shadow.server import Shadow, open_server
from ktnet.tasks import open_tasks
from ktnet.wire.flow import OpenFailure
from ktnet.wire.meshmark import Registration

PORT = 8080
ANYBODY, _ = new_client_key()


@asynccontextmanager
async def open_http(name):
    async def serve(reader, writer):
        while (await reader.readline()).strip():
            while (await reader.readline()).strip():
                pass
            answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}"
            writer.write(answer.encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Router:
    def __init__(self, members, ssh_port, port, host_key):
        self.members, self.ssh_port, self.port, self.host_key = members, ssh_port, port, host_key

    def attach(self):
        async def connect(build):
            loop = asyncio.get_running_loop()
            return await loop.create_connection(build, "127.0.0.1", self.ssh_port)

        return open_link(connect, client_key=ANYBODY, host_key=self.host_key)

    async def ask(self, mark):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET / HTTP/1.1\r\nHost: a\r\nversion: {mark}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        if b" 200 " not in head:
            return head.split()[1].decode()
        return (await reader.read(100)).decode()


@asynccontextmanager
async def open_router():
    async with AsyncExitStack() as stack:
        origin_port = await stack.enter_async_context(open_http("origin"))
        tasks = await stack.enter_async_context(open_tasks())
        table = Table(Origin("127.0.0.1", origin_port))
        log = EventLog("key", lambda _: None)
        members, host_key = Members({PORT: table}, log, 60), new_host_key()
        tasks.create_task(members.run_watch())
        shadow = Shadow(None, Resolver(()), log, tasks)
        acceptor = await stack.enter_async_context(
            open_server(shadow, host_key, "127.0.0.1", 0, lambda: RouterServer(shadow, members))
        )
        port = await stack.enter_async_context(
            open_router_port("127.0.0.1", 0, table, Expected.HTTP)
        )
        yield Router(members, acceptor.get_port(), port.number, build_public_key(host_key))


def run(scenario):
    async def main():
        async with asyncio.timeout(30), open_router() as router, open_http("laptop") as local:
            await scenario(router, local)

    asyncio.run(main())


def register(session="one", **changes):
    return Registration(session, "version", "alice", (PORT,), **changes)


@asynccontextmanager
async def attach(router, local, session="one", **changes):
    """A member whose process listens at this port."""
    async with (
        router.attach() as link,
        link.listen(PORT, ("127.0.0.1", local)),
        link.register(register(session, **changes)),
    ):
        yield


async def attach_and_crash(router, local, **changes):
    async with attach(router, local, **changes):
        assert await router.ask("alice") == "laptop"
        raise RuntimeError("crashed")


def test_marked_requests_go_to_who_is_attached_and_to_the_origin_afterwards():
    async def scenario(router, local):
        assert getpass.getuser()  # any key will do, of anybody
        async with router.attach() as link, link.listen(PORT, ("127.0.0.1", local)):
            assert await router.ask("alice") == "origin"
            async with link.register(register()):
                assert await router.ask("alice") == "laptop"
                assert await router.ask("bob") == "origin"
            assert await router.ask("alice") == "origin"

    run(scenario)


@pytest.mark.parametrize("fail_open", [True, False])
def test_a_broken_connection_is_a_laptop_that_is_away(fail_open):
    async def scenario(router, local):
        with pytest.raises(RuntimeError, match="crashed"):
            await attach_and_crash(router, local, fail_open=fail_open)
        while router.members.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await router.ask("alice") == ("origin" if fail_open else "502")
        async with attach(router, local, fail_open=fail_open):
            assert await router.ask("alice") == "laptop"

    run(scenario)


def test_nothing_listening_here_is_seen_by_the_callers():
    async def scenario(router, local):
        async with attach(router, 1):
            assert await router.ask("alice") == "502"

    run(scenario)


def test_a_mark_that_is_taken_is_refused():
    async def scenario(router, local):
        async with attach(router, local):
            with pytest.raises(Conflict, match="one's"):
                await attach_and_crash(router, 1, session="two")
            assert await router.ask("alice") == "laptop"

    run(scenario)


class Failure:
    def __init__(self):
        self.failure = asyncio.get_running_loop().create_future()

    def open_failed(self, failure):
        self.failure.set_result(failure)


def test_who_attaches_gets_nothing_of_the_cluster():
    async def scenario(router, local):
        async with router.attach() as link:
            receiver = Failure()
            link.open_tcp("127.0.0.1", local, ("127.0.0.1", 0), receiver)
            assert await receiver.failure is OpenFailure.PROHIBITED
            query = b"\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"
            with pytest.raises(TunnelError, match="no DNS"):
                await link.ask(query)
            with pytest.raises(TunnelError, match="does not listen"):
                async with link.listen(PORT + 1, ("127.0.0.1", local)):
                    raise AssertionError
            with pytest.raises(Conflict, match="claimed"):
                async with link.register(register()):
                    raise AssertionError
            assert await link.round_trip() >= 0

    run(scenario)
