"""Nameservers, asked in their order as a C library does; but the next one is asked sooner.

the first ─► it fails, or its head start is over ─► the next as well ─► the first useful answer
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

DNS_PORT = 53

MOST_SERVERS = 3
"""MAXNS of resolv.conf(5): as many as a C library reads."""

SILENCE_REMEMBERED_S = 30.0
"""How long a server that let another one overtake it is asked last, so that a dead one does not
cost its head start at every query."""

_TRY_ELSEWHERE = {2, 4, 5}
"""SERVFAIL, NOTIMP, REFUSED: with these a server says something about itself and not about the
name, so the next is asked (as the C library does)."""

Server = TypeVar("Server")
Answer = TypeVar("Answer")


class Nameservers(Generic[Server, Answer]):
    """Those of one side, and which of them have been silent."""

    def __init__(
        self, servers: Iterable[Server], head_start_s: float, read_rcode: Callable[[Answer], int]
    ) -> None:
        """`head_start_s`: how long a server is asked alone before the next one is asked as well. It
        goes on being waited for: a name that takes long to look up takes long at the next server
        too."""
        self._servers = tuple(servers)
        self._head_start_s = head_start_s
        self._read_rcode = read_rcode
        self._silent_until_s: dict[Server, float] = {}

    async def ask(self, ask_one: Callable[[Server], Awaitable[Answer | None]]) -> Answer | None:
        """The first useful answer, else the first of the others, None where there was none.

        `ask_one` gives a server's answer, None where that can't be asked.
        """
        now_s = time.monotonic()
        waiting = sorted(self._servers, key=lambda s: self._silent_until_s.get(s, 0.0) > now_s)
        outcomes: asyncio.Queue[tuple[Server, Answer | None]] = asyncio.Queue()
        asked: dict[Server, asyncio.Task[None]] = {}
        fallback = None

        async def ask_in_turn(server: Server) -> None:
            outcomes.put_nowait((server, await ask_one(server)))

        async with asyncio.TaskGroup() as group:
            while waiting or asked:
                if waiting:
                    server = waiting.pop(0)
                    asked[server] = group.create_task(ask_in_turn(server))
                try:
                    async with asyncio.timeout(self._head_start_s if waiting else None):
                        server, answer = await outcomes.get()
                except TimeoutError:
                    continue
                del asked[server]
                if answer is not None and self._read_rcode(answer) not in _TRY_ELSEWHERE:
                    self._remember(answered=server, silent=asked)
                    for task in asked.values():
                        task.cancel()
                    return answer
                fallback = fallback or answer
        return fallback

    def _remember(self, *, answered: Server, silent: Iterable[Server]) -> None:
        self._silent_until_s.pop(answered, None)
        for server in silent:
            self._silent_until_s[server] = time.monotonic() + SILENCE_REMEMBERED_S
