"""A laptop's SSH connection to the router: its ports, its mark, its beats.

Whoever reaches this server may attach: it listens on the pod's loopback, where port-forward alone
comes, so the cluster's RBAC has decided. Here it may have requests sent to it, and nothing else: no
flow into the cluster, no name.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh

from ktnet.errors import RemoteProtocolError
from ktnet.shadow.laptop import LaptopPort
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh.members import Members, Membership, Refused
from ktnet.shadow.server import Shadow, ShadowServer, Told
from ktnet.shadow.subsystem import SubsystemSession
from ktnet.stream.target import EchoReceiver, TargetFailed
from ktnet.wire.flow import OpenFailure
from ktnet.wire.meshmark import (
    LEAVE,
    LEFT,
    NO,
    OK,
    SUBSYSTEM,
    LineReader,
    Registration,
    parse_registration,
)
from ktnet.wire.shadow import PROBE_HOST


class RouterServer(ShadowServer):
    """asyncssh's callbacks for one connection."""

    def __init__(self, shadow: Shadow, members: Members) -> None:
        super().__init__(shadow)
        self._members = members
        self._claims: dict[int, LaptopPort] = {}
        self._membership: Membership | None = None

    def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener | bool:
        """Remote forwarding (RFC 4254 section 7.1); its registration says for which requests."""
        if listen_port not in self._members.tables:
            self._log.event("not a port of this router", port=listen_port)
            return False
        self._claims[listen_port] = LaptopPort(self._laptop, listen_host, listen_port)
        return _Claim(listen_port)

    def session_requested(
        self,
    ) -> tuple[asyncssh.SSHServerChannel[bytes], asyncssh.SSHServerSession[bytes]]:
        """A session channel: for the registration."""
        channel = self._conn.create_server_channel(encoding=None)
        return channel, MarkSession(self, self._shadow.group, self._log)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for whatever reason."""
        if self._membership is not None:
            self._members.lose(self._membership)
        super().connection_lost(exc)

    def register(self, registration: Registration) -> None:
        """Raises Refused."""
        if self._membership is not None:
            raise Refused("one mark a connection")
        self._membership = self._members.join(registration, self._laptop, self._claims)

    def hear(self) -> None:
        """It is there."""
        if self._membership is not None and not self._conn.is_closed():
            self._members.hear(self._membership)

    async def leave(self) -> None:
        """Returns when its requests are answered."""
        if self._membership is not None:
            await self._members.leave(self._membership)

    def _begin_receiver(self, host: str, port: int, told: Told) -> None:
        if host == PROBE_HOST:
            told(EchoReceiver())
        else:
            reason = "a router opens nothing for those who attach"
            told(TargetFailed(OpenFailure.PROHIBITED, reason))


class _Claim(asyncssh.SSHListener):
    """What asyncssh wants to be closed at the end."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def get_port(self) -> int:
        """Its number."""
        return self._port

    def close(self) -> None:
        """Nothing listens for it alone."""

    async def wait_closed(self) -> None:
        """It is at once."""


class MarkSession(SubsystemSession):
    """Takes a registration and beats; that it is gone is the connection's matter."""

    def __init__(self, server: RouterServer, group: asyncio.TaskGroup, log: EventLog) -> None:
        super().__init__(SUBSYSTEM, log)
        self._server = server
        self._group = group
        self._lines = LineReader()
        self._is_registered = False

    def data_received(self, data: bytes, _datatype: Any) -> None:
        """Lines, or parts of some."""
        try:
            for line in self._lines.feed(data):
                self._take(line)
        except RemoteProtocolError as error:
            self._refuse(error)

    def _take(self, line: bytes) -> None:
        if not self._is_registered:
            self._register(parse_registration(line))
        elif line == LEAVE:
            self._group.create_task(self._leave())
        else:
            self._server.hear()

    def _register(self, registration: Registration) -> None:
        try:
            self._server.register(registration)
        except Refused as error:
            self._say(NO + b" " + str(error).encode())
        else:
            self._is_registered = True
            self._say(OK)

    async def _leave(self) -> None:
        await self._server.leave()
        self._say(LEFT)

    def _say(self, line: bytes) -> None:
        self._send(line + b"\n")
