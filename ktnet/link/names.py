"""Asks the cluster's resolver: DNS messages on one channel, many in flight.

Every query travels under an id of our own, so that two askers with the same id don't get each
other's answers; what comes back is matched by that id and by its question.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import cast

import asyncssh

from ktnet.errors import DnsError, RemoteProtocolError, TunnelError
from ktnet.wire.dnsframe import FrameReader, build_frame
from ktnet.wire.dnsmessage import build_with_id, is_answer_to, is_query, parse_id, parse_question
from ktnet.wire.shadow import DNS_SUBSYSTEM

MOST_IN_FLIGHT = 2048
"""Far below the number of ids, so that a free one is found at the first try or so."""


class NameChannel(asyncssh.SSHClientSession[bytes]):
    """The DNS subsystem's channel, as asyncssh's session."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None

    @property
    def usable(self) -> bool:
        """Whether queries can be sent."""
        return self._channel is not None and not self._channel.is_closing()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    async def ask(self, query: bytes) -> bytes:
        """The answer to `query`, under its id. TunnelError where the channel ends before."""
        if self._channel is None or self._channel.is_closing():
            raise TunnelError("the tunnel's DNS channel is closed")
        if len(self._waiting) >= MOST_IN_FLIGHT:
            raise DnsError("too many names are being asked for at once")
        message_id = self._free_id()
        asked = build_with_id(query, message_id)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = (asked, answer)
        try:
            self._channel.write(build_frame(asked))
            return build_with_id(await answer, parse_id(query))
        finally:
            del self._waiting[message_id]

    def _free_id(self) -> int:
        while (message_id := secrets.randbelow(0x10000)) in self._waiting:
            pass
        return message_id

    def data_received(self, data: bytes, _datatype: object) -> None:
        """Answers, or parts of some."""
        try:
            for answer in self._frames.feed(data):
                asked, future = self._waiting.get(parse_id(answer), (b"", None))
                # What nobody waits for is late: its asker has given up.
                if future is not None and not future.done() and is_answer_to(asked, answer):
                    future.set_result(answer)
        except RemoteProtocolError as error:
            self._fail(error)
            if self._channel is not None:
                self._channel.abort()

    def eof_received(self) -> bool:
        """The shadow answers no more: False closes the channel."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel or the whole connection is gone."""
        self._channel = None
        self._fail(TunnelError(f"the tunnel's DNS channel is lost: {exc or 'closed'}"))

    def _fail(self, error: TunnelError) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)


class Names:
    """Opens the channel when it is first needed, and again where it was closed."""

    def __init__(self, connection: asyncssh.SSHClientConnection, group: asyncio.TaskGroup) -> None:
        self._connection = connection
        self._group = group
        self._opening: asyncio.Future[NameChannel] | None = None

    async def ask(self, query: bytes) -> bytes:
        """The complete answer to one query, under the query's id.

        DnsError where `query` is not one; TunnelError where the tunnel breaks meanwhile.
        """
        try:
            parse_question(query)
        except RemoteProtocolError as error:
            raise DnsError(f"not a DNS query: {error}") from error
        if not is_query(query):
            raise DnsError("not a DNS query but an answer")
        if self._opening is None or (self._opening.done() and not self._is_usable(self._opening)):
            self._opening = asyncio.get_running_loop().create_future()
            # In a task of its own: an asker that gives up must not take the channel along.
            self._group.create_task(self._open(self._opening))
        channel = await asyncio.shield(self._opening)
        return await channel.ask(query)

    @staticmethod
    def _is_usable(opened: asyncio.Future[NameChannel]) -> bool:
        return opened.exception() is None and opened.result().usable

    async def _open(self, opening: asyncio.Future[NameChannel]) -> None:
        failure = TunnelError("the tunnel is down")
        try:
            _, session = await self._connection.create_session(
                NameChannel, subsystem=DNS_SUBSYSTEM, encoding=None, request_pty=False
            )
            opening.set_result(cast("NameChannel", session))
        except asyncssh.Error as error:
            failure = TunnelError(f"the shadow gives no DNS: {error}", hint="is it a ktnet shadow?")
        finally:
            if not opening.done():
                opening.set_exception(failure)
                opening.exception()  # perhaps everybody who asked has given up
