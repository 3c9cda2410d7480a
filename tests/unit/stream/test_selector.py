"""The loop whose selector deals with polled sockets itself, and asyncio's part, which must not
wait for it."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
import time

import pytest

from ktnet.stream.loop import run
from ktnet.stream.polling import get_poller

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="polling is Linux's")

PATIENCE_S = 10.0


class Turning:
    """Two polled sockets that pass a byte on to one another for ever, while the context is open."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Turning:
        self._poller = get_poller()
        self._ends = socket.socketpair()
        for one, other in zip(self._ends, reversed(self._ends), strict=True):
            one.setblocking(False)
            self._poller.add(one, lambda _, one=one, other=other: self._pass_on(one))
        self._ends[0].send(b"x")
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._ends:
            self._poller.close(each)

    def _pass_on(self, sock: socket.socket) -> None:
        sock.send(sock.recv(1))
        self.count += 1


def test_a_busy_socket_costs_no_turns_of_the_loop() -> None:
    async def scenario() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        turns = 0
        select = loop._selector.select  # type: ignore[attr-defined]

        def count(timeout: float | None) -> object:
            nonlocal turns
            turns += 1
            return select(timeout)

        loop._selector.select = count  # type: ignore[attr-defined]
        with Turning() as turning:
            await asyncio.sleep(0.2)
            return turning.count, turns

    passed, turns = run(scenario())
    assert passed > 100
    assert turns < 10


def test_what_asyncio_has_to_do_is_done_meanwhile() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with Turning() as turning:
            start_s = time.monotonic()
            await asyncio.sleep(0.05)  # a timer
            assert 0.05 <= time.monotonic() - start_s < PATIENCE_S
            assert await asyncio.to_thread(lambda: 7) == 7  # another thread's word
            there, here = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=here)
            there.send(b"a stream\n")  # a socket that isn't polled
            assert await reader.readline() == b"a stream\n"
            writer.close()
            there.close()
            got = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, got.set)
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            async with asyncio.timeout(PATIENCE_S):
                await got.wait()
            loop.remove_signal_handler(signal.SIGUSR1)
            assert turning.count

    run(scenario())


def test_what_a_handler_leaves_to_the_loop_is_done_at_once() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        poller = get_poller()
        for leave in (loop.call_soon, lambda call: loop.call_later(0.01, call)):
            here, there = socket.socketpair()
            here.setblocking(False)
            called = asyncio.Event()
            poller.add(here, lambda _, leave=leave, called=called: leave(called.set))
            there.send(b"x")
            async with asyncio.timeout(PATIENCE_S):
                await called.wait()
            poller.close(here)
            there.close()

    # There is a timer that is due much later: nothing else would end the wait.
    run(asyncio.wait_for(scenario(), 2 * PATIENCE_S))
