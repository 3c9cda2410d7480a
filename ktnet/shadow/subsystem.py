"""What session channels of this pod have in common: each gives one subsystem, and that is all."""

from __future__ import annotations

import asyncssh

from ktnet.errors import RemoteProtocolError
from ktnet.shadow.log import EventLog


class SubsystemSession(asyncssh.SSHServerSession[bytes]):
    """A session channel that gives the subsystem `name` only: no shell, no exec, no pty."""

    def __init__(self, name: str, log: EventLog) -> None:
        self._name = name
        self._log = log
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def pty_requested(self, *_terminal: object) -> bool:
        """No."""
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        """Only one."""
        return subsystem == self._name

    def eof_received(self) -> bool:
        """The client says no more: False closes the channel."""
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """The channel is gone, nobody waits for an answer."""
        self._channel = None

    def _send(self, data: bytes) -> None:
        """Nothing where the client is gone, or about to be."""
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The client broke the subsystem's rules: the channel ends."""
        self._log.event("subsystem closed", name=self._name, error=error)
        if self._channel is not None:
            self._channel.abort()
