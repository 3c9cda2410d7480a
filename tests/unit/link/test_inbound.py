"""Connections from the cluster to the laptop, through both real ends on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct

import pytest
from tunnel_ends import Cable, echo, open_shadow, open_target, run, until

from ktnet.errors import TunnelError
from ktnet.link import inbound
from ktnet.shadow import laptop
from ktnet.shadow.destinations import Origin
from ktnet.shadow.inbound import Exposable
from ktnet.stream import target as target_module

MIB = 1 << 20


def find_free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def exposing(port, origin=None):
    """For `open_shadow`: what it exposes, and where it shows its health."""
    return {"exposables": (Exposable(port, origin),), "health_port": find_free_port()}


@contextlib.asynccontextmanager
async def open_exposed(handle, **options):
    """(port in the cluster, link, ends): one port that leads to `handle` on the laptop."""
    port = find_free_port()
    async with (
        open_shadow(**exposing(port), **options) as ends,
        ends.attach() as link,
        open_target(handle) as local,
        link.listen(port, ("127.0.0.1", local)),
    ):
        yield port, link, ends


async def call(port):
    """A caller's connection, as (reader, writer)."""
    return await asyncio.open_connection("127.0.0.1", port)


async def ask(port, question=b"hello"):
    """What comes back to a caller that sends this and ends."""
    reader, writer = await call(port)
    try:
        writer.write(question)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def is_refused(port):
    try:
        _, writer = await call(port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def test_a_caller_in_the_cluster_reaches_the_laptop():
    async def scenario():
        async with open_exposed(echo) as (port, link, _):
            assert await ask(port) == b"hello"
            assert link.traffic.flows_opened == 1

    run(scenario())


def test_half_close_passes_in_both_directions():
    async def scenario():
        async def count(sock):
            loop, total = asyncio.get_running_loop(), 0
            await loop.sock_sendall(sock, b"first")
            while data := await loop.sock_recv(sock, 1 << 16):
                total += len(data)
            await loop.sock_sendall(sock, b" then %d" % total)  # the caller ended long ago

        async with open_exposed(count) as (port, _, _):
            assert await ask(port, b"x" * 300_000) == b"first then 300000"

    run(scenario())


def test_a_reset_on_the_laptop_is_one_in_the_cluster_and_the_other_way_round():
    async def scenario():
        seen = asyncio.get_running_loop().create_future()

        async def reset_or_wait(sock):
            loop = asyncio.get_running_loop()
            if await loop.sock_recv(sock, 5) == b"reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            try:
                await loop.sock_recv(sock, 1)
            except ConnectionResetError:
                seen.set_result("reset")

        async with open_exposed(reset_or_wait) as (port, _, _):
            reader, writer = await call(port)
            writer.write(b"reset")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            _, writer = await call(port)
            writer.write(b"stay!")
            sock = writer.transport.get_extra_info("socket")
            await asyncio.sleep(0.05)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            assert await seen == "reset"

    run(scenario())


def test_a_port_that_is_let_go_is_refused_and_comes_back():
    async def scenario():
        port = find_free_port()
        async with open_shadow(**exposing(port)) as ends, ends.attach() as link:
            assert await is_refused(port)
            for _ in range(3):
                async with open_target(echo) as local, link.listen(port, ("127.0.0.1", local)):
                    assert await ask(port) == b"hello"
                await until(lambda: not ends.shadow.inbound.find(port).bound_port)
                assert await is_refused(port)

    run(scenario())


def test_a_caller_whose_laptop_port_is_closed_is_reset_at_once():
    async def scenario():
        port, nowhere = find_free_port(), find_free_port()
        async with (
            open_shadow(**exposing(port)) as ends,
            ends.attach() as link,
            link.listen(port, ("127.0.0.1", nowhere)),
        ):
            with pytest.raises(ConnectionResetError):
                await ask(port)
            assert link.traffic.flows_failed == 1

    run(scenario())


def test_a_port_that_was_not_asked_for_is_not_exposed():
    async def scenario():
        port = find_free_port()
        async with open_shadow(**exposing(port)) as ends, ends.attach() as link:
            with pytest.raises(TunnelError):
                async with link.listen(find_free_port(), ("127.0.0.1", 1)):
                    pass
            assert any("not exposed" in line for line in ends.log_lines)
            with socket.create_server(("127.0.0.1", port)), pytest.raises(TunnelError):
                async with link.listen(port, ("127.0.0.1", 1)):
                    pass
            assert await link.round_trip() > 0  # and the tunnel doesn't suffer

    run(scenario())


def test_the_health_port_is_open_only_while_callers_get_somewhere():
    async def scenario():
        port = find_free_port()
        async with open_shadow(**exposing(port)) as ends:
            health = ends.shadow.health_port
            ends.shadow.inbound.start()
            assert await is_refused(health)
            async with ends.attach() as link:
                assert await is_refused(health)
                async with link.listen(port, ("127.0.0.1", 1)):
                    assert not await is_refused(health)
                await until(lambda: not ends.shadow.inbound.health_port)
                async with link.listen(port, ("127.0.0.1", 1)):
                    assert not await is_refused(health)
            await until(lambda: not ends.shadow.inbound.health_port)
            assert await is_refused(port)

    run(scenario())


def test_a_client_that_comes_back_takes_its_ports_over_at_once():
    """While the shadow still believes in its old connection, and so do the callers on it."""

    async def scenario():
        port = find_free_port()
        async with contextlib.AsyncExitStack() as stack:
            ends = await stack.enter_async_context(open_shadow(**exposing(port)))
            local = await stack.enter_async_context(open_target(echo))
            cable = await stack.enter_async_context(Cable(ends.port).laid())
            old = await stack.enter_async_context(ends.attach(cable.dial))
            await stack.enter_async_context(old.listen(port, ("127.0.0.1", local)))
            reader, writer = await call(port)
            writer.write(b"one")
            assert await reader.readexactly(3) == b"one"
            cable.stop()
            new = await stack.enter_async_context(ends.attach())
            await stack.enter_async_context(new.listen(port, ("127.0.0.1", local)))
            assert await ask(port) == b"hello"
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await until(lambda: ends.shadow.attendance.attached == 1)
            assert await ask(port) == b"hello"
            cable.cut()

    run(scenario())


def test_a_caller_that_comes_with_the_listeners_confirmation_is_let_in(ssh_path, monkeypatch):
    """Both are read at once: the listener is known to its owner before the caller is looked at."""
    if ssh_path != "own":
        pytest.skip("asyncssh itself looks at the caller first")

    async def scenario():
        port = find_free_port()
        async with contextlib.AsyncExitStack() as stack:
            local = await stack.enter_async_context(open_target(echo))
            ends = await stack.enter_async_context(
                open_shadow(**exposing(port, Origin("127.0.0.1", local)))
            )
            inbound = ends.shadow.inbound
            inbound.start()
            cable = await stack.enter_async_context(Cable(ends.port).laid())
            link = await stack.enter_async_context(ends.attach(cable.dial))
            claim = inbound.claim

            def claim_and_stop(*arguments):
                cable.stop()
                return claim(*arguments)

            monkeypatch.setattr(inbound, "claim", claim_and_stop)
            listening = asyncio.create_task(
                stack.enter_async_context(link.listen(port, ("127.0.0.1", local)))
            )
            await until(lambda: inbound.find(port).claimant)
            asking = asyncio.create_task(ask(port, b"laptop"))
            await until(lambda: inbound.find(port).callers)
            await asyncio.sleep(0.05)  # nothing shows that the caller's packet has been sent
            cable.go_on()
            assert await asking == b"laptop"
            await listening
            assert link.traffic.flows_opened == 1

    run(scenario())


@pytest.mark.parametrize("cut", ["cut", "stop"])
def test_with_an_origin_callers_go_there_while_the_laptop_is_away(cut):
    async def scenario():
        async def say_origin(sock):
            await asyncio.get_running_loop().sock_sendall(sock, b"origin")

        port = find_free_port()
        async with contextlib.AsyncExitStack() as stack:
            origin = await stack.enter_async_context(open_target(say_origin))
            local = await stack.enter_async_context(open_target(echo))
            ends = await stack.enter_async_context(
                open_shadow(**exposing(port, Origin("127.0.0.1", origin)))
            )
            ends.shadow.inbound.start()
            assert await ask(port, b"") == b"origin"
            assert not await is_refused(ends.shadow.health_port)
            cable = await stack.enter_async_context(Cable(ends.port).laid())
            link = await stack.enter_async_context(ends.attach(cable.dial))
            await stack.enter_async_context(link.listen(port, ("127.0.0.1", local)))
            assert await ask(port, b"laptop") == b"laptop"
            if cut == "cut":
                cable.cut()
                await link.wait_closed()
                await until(lambda: not ends.shadow.attendance.attached)
            else:
                cable.stop()  # a laptop that is asleep: its connection stays
            assert await ask(port, b"") == b"origin"
            assert await ask(port, b"") == b"origin"
            assert not await is_refused(ends.shadow.health_port)
            if cut == "stop":
                cable.go_on()
                inbound = ends.shadow.inbound.find(port)
                await until(lambda: not inbound.claimant.laptop.is_silent)
            else:
                link = await stack.enter_async_context(ends.attach())
                await stack.enter_async_context(link.listen(port, ("127.0.0.1", local)))
            assert await ask(port, b"laptop") == b"laptop"

    run(scenario())


def test_a_laptop_that_says_something_is_busy_and_not_gone(monkeypatch):
    """However long a caller waits: where a thousand come at once, it is some time."""
    monkeypatch.setattr(laptop, "PATIENCE_S", 0.3)

    async def scenario():
        connecting, go_on = asyncio.Event(), asyncio.Event()

        async def connect_late(*target, **options):
            connecting.set()
            await go_on.wait()
            return await target_module.connect_target(*target, **options)

        async with open_exposed(echo) as (port, _, _):
            reader, writer = await call(port)
            writer.write(b".")
            await reader.readexactly(1)
            monkeypatch.setattr(inbound, "connect_target", connect_late)
            asked = asyncio.ensure_future(ask(port, b"laptop"))
            await connecting.wait()
            for _ in range(20):
                writer.write(b".")
                await reader.readexactly(1)
                await asyncio.sleep(0.05)
            go_on.set()
            assert await asked == b"laptop"
            go_on.clear()
            # Now it says nothing at all, and the caller is told.
            with pytest.raises(OSError, match="reset"):
                await ask(port)
            go_on.set()
            writer.close()

    run(scenario())


def test_with_an_origin_a_stopped_application_is_still_refused():
    async def scenario():
        async def never(_sock):
            raise AssertionError("the origin was asked")

        port = find_free_port()
        async with (
            open_target(never) as origin,
            open_shadow(**exposing(port, Origin("127.0.0.1", origin))) as ends,
            ends.attach() as link,
        ):
            async with open_target(echo) as local, link.listen(port, ("127.0.0.1", local)):
                assert await ask(port) == b"hello"
            await until(lambda: not ends.shadow.inbound.find(port).bound_port)
            assert await is_refused(port)

    run(scenario())


def test_a_probe_passes_the_whole_way_and_the_application_notices_nothing():
    async def scenario():
        async def never(_sock):
            raise AssertionError("the application was asked")

        port = find_free_port()
        async with (
            open_shadow(**exposing(port)) as ends,
            ends.attach() as link,
            open_target(never) as local,
            link.listen(port, ("127.0.0.1", local)) as listener,
        ):
            await link.prove(listener, "127.0.0.1", timeout_s=10)

    run(scenario())


def test_a_probe_says_where_nothing_gets_here():
    async def scenario():
        port = find_free_port()
        async with (
            open_shadow(**exposing(port)) as ends,
            ends.attach() as link,
            open_target(echo) as local,
            link.listen(port, ("127.0.0.1", local)) as listener,
        ):
            ends.shadow.inbound.find(port).finish()
            with pytest.raises(TunnelError):
                await link.prove(listener, "127.0.0.1", timeout_s=10)

    run(scenario())


def test_a_drain_accepts_for_a_while_and_lets_callers_end():
    async def scenario():
        async with open_exposed(echo) as (port, _, ends):
            reader, writer = await call(port)
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            drain = asyncio.create_task(ends.shadow.inbound.drain(0.3, 30.0))
            await asyncio.sleep(0.1)
            assert await ask(port) == b"hello"
            await until(lambda: not ends.shadow.inbound.find(port).bound_port)
            assert await is_refused(port)
            writer.write(b"after")
            assert await reader.readexactly(5) == b"after"
            assert not drain.done()
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await drain

    run(scenario())


def test_a_drain_resets_callers_that_do_not_end():
    async def scenario():
        async with open_exposed(echo) as (port, _, ends):
            reader, writer = await call(port)
            writer.write(b"here")
            assert await reader.readexactly(4) == b"here"
            await ends.shadow.inbound.drain(0.0, 0.1)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    run(scenario())


def test_300_callers_at_once_and_windows_are_given_back():
    async def scenario():
        async with open_exposed(echo) as (port, link, ends):
            callers = [await call(port) for _ in range(300)]
            for number, (_, writer) in enumerate(callers):
                writer.write(b"%06d" % number)
            for number, (reader, writer) in enumerate(callers):
                assert await reader.readexactly(6) == b"%06d" % number
                writer.close()
            await until(lambda: not link.traffic.flows_open)
            await until(lambda: not ends.shadow.inbound.find(port).callers)

    run(scenario())


def test_8_mib_up_and_down_arrive_unchanged():
    data = bytes(range(256)) * (8 * MIB // 256)

    async def scenario():
        async with open_exposed(echo) as (port, _, _):
            reader, writer = await call(port)

            async def send():
                writer.write(data)
                writer.write_eof()
                await writer.drain()

            sending = asyncio.create_task(send())
            digest = hashlib.sha256()
            while chunk := await reader.read(1 << 18):
                digest.update(chunk)
            await sending
            writer.close()
            assert digest.digest() == hashlib.sha256(data).digest()

    run(scenario())


def test_a_caller_that_leaves_before_the_laptop_answered_leaves_nothing():
    async def scenario():
        port = find_free_port()
        async with contextlib.AsyncExitStack() as stack:
            ends = await stack.enter_async_context(open_shadow(**exposing(port)))
            local = await stack.enter_async_context(open_target(echo))
            cable = await stack.enter_async_context(Cable(ends.port).laid())
            link = await stack.enter_async_context(ends.attach(cable.dial))
            await stack.enter_async_context(link.listen(port, ("127.0.0.1", local)))
            cable.stop()
            _, writer = await call(port)
            await until(lambda: ends.shadow.inbound.find(port).callers)
            writer.transport.abort()
            await until(lambda: not ends.shadow.inbound.find(port).callers)
            cable.go_on()
            await until(lambda: link.traffic.flows_opened and not link.traffic.flows_open)
            assert await ask(port) == b"hello"

    run(scenario())
