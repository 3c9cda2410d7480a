"""Our mark at a router: registered, kept up by beats, and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncssh

from ktnet.errors import Conflict, RemoteProtocolError, TunnelError
from ktnet.tasks import open_tasks
from ktnet.wire.meshmark import (
    BEAT,
    BEAT_INTERVAL_S,
    LEAVE,
    LEFT,
    NO,
    OK,
    SUBSYSTEM,
    LineReader,
    Registration,
    build_registration,
)

_ANSWER_TIMEOUT_S = 5.0
_LEAVE_TIMEOUT_S = 8.0
"""The router lets our requests end for a while (`ktnet.shadow.mesh.members`)."""


class _MarkChannel(asyncssh.SSHClientSession[bytes]):
    """The subsystem's channel, as asyncssh's session."""

    def __init__(self) -> None:
        self._lines = LineReader()
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()

    def data_received(self, data: bytes, _datatype: Any) -> None:
        """Answers."""
        try:
            for line in self._lines.feed(data):
                self._answers.put_nowait(line)
        except RemoteProtocolError:
            self._answers.put_nowait(None)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The channel or the whole connection is gone."""
        self._answers.put_nowait(None)

    async def read_answer(self, timeout_s: float) -> bytes:
        """The next line. Raises TunnelError where none comes."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._answers.get()
        except TimeoutError as error:
            raise TunnelError(f"the router doesn't answer within {timeout_s:g} s") from error
        if answer is None:
            raise TunnelError("the router has closed the channel")
        return answer


@asynccontextmanager
async def open_membership(
    connection: asyncssh.SSHClientConnection, registration: Registration
) -> AsyncIterator[None]:
    """See `ktnet.link.connection.Link.register`."""
    try:
        channel, opened = await connection.create_session(
            _MarkChannel, subsystem=SUBSYSTEM, encoding=None, request_pty=False
        )
    except asyncssh.Error as error:
        raise TunnelError(
            f"the router takes no marks: {error}", hint="is its image of this ktnet's own version?"
        ) from error
    session = cast("_MarkChannel", opened)
    channel.write(build_registration(registration))
    answer = await session.read_answer(_ANSWER_TIMEOUT_S)
    if answer != OK:
        raise Conflict(f"the router refuses: {answer.removeprefix(NO).decode(errors='replace')}")
    try:
        async with open_tasks() as tasks:
            tasks.create_task(_beat(channel))
            yield
            if not channel.is_closing():
                # The beats go on: until the last answer we are there.
                channel.write(LEAVE + b"\n")
                while await session.read_answer(_LEAVE_TIMEOUT_S) != LEFT:
                    pass
    finally:
        channel.close()


async def _beat(channel: asyncssh.SSHClientChannel[bytes]) -> None:
    while not channel.is_closing():
        channel.write(BEAT)
        await asyncio.sleep(BEAT_INTERVAL_S)
