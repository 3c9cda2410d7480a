"""DNS for the client: the subsystem that takes queries and sends answers back, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ktnet.errors import RemoteProtocolError
from ktnet.shadow.log import EventLog
from ktnet.shadow.resolver import Resolver
from ktnet.shadow.subsystem import SubsystemSession
from ktnet.wire.dnsframe import FrameReader, build_frame
from ktnet.wire.shadow import DNS_SUBSYSTEM

MOST_IN_FLIGHT = 128
"""Queries of one client. Each takes a socket for as long as a resolver takes, and a resolver's
socket holds some 270 small datagrams by default (net.core.rmem_default) before it loses some."""


class NameSession(SubsystemSession):
    """Takes queries, and gives answers as they come."""

    def __init__(self, resolver: Resolver, group: asyncio.TaskGroup, log: EventLog) -> None:
        super().__init__(DNS_SUBSYSTEM, log)
        self._resolver = resolver
        self._group = group
        self._frames = FrameReader()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._client_slow = False
        self._reading_paused = False

    def data_received(self, data: bytes, _datatype: object) -> None:
        """Queries, or parts of some."""
        try:
            for query in self._frames.feed(data):
                task = self._group.create_task(self._answer(query))
                self._in_flight.add(task)
                task.add_done_callback(self._answered)
        except RemoteProtocolError as error:
            self._refuse(error)
        self._pause_or_resume()

    def pause_writing(self) -> None:
        """The client does not take its answers."""
        self._client_slow = True
        self._pause_or_resume()

    def resume_writing(self) -> None:
        """It does again."""
        self._client_slow = False
        self._pause_or_resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, nobody waits for the answers."""
        super().connection_lost(exc)
        for task in self._in_flight:
            task.cancel()

    async def _answer(self, query: bytes) -> None:
        try:
            async with self._turns:  # one packet may bring more queries than are let in flight
                answer = await self._resolver.answer(query)
        except RemoteProtocolError as error:
            self._refuse(error)
        else:
            self._send(build_frame(answer))

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        """Take no more queries while there are enough, or answers lie about."""
        pause = self._client_slow or len(self._in_flight) >= MOST_IN_FLIGHT
        if self._channel is None or pause == self._reading_paused:
            return
        self._reading_paused = pause
        step: Callable[[], None] = (
            self._channel.pause_reading if pause else self._channel.resume_reading
        )
        step()
