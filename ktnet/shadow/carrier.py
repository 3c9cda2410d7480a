"""The listening socket: who may come as far as the SSH library, and by what carrier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncssh

from ktnet.stream.carrier import PlainCarrier, build_carrier
from ktnet.stream.datapath import DataPath

CARRIER = "carrier"
"""Under this name the SSH connection's extra info has its carrier."""

MOST_UNAUTHENTICATED = 32
"""Connections that have not yet shown the right key. With `--bind` to the pod's address every pod
of the cluster may come; each can stay for the log-in time only."""


class Admission:
    """Counts the connections that have not authenticated."""

    def __init__(self) -> None:
        self.unauthenticated = 0

    def admits(self) -> bool:
        """Whether one more may try."""
        return self.unauthenticated < MOST_UNAUTHENTICATED


class Listener:
    """What asyncssh calls a tunnel: something else to make its listening socket with."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def create_server(
        self,
        session_factory: Callable[[str, int], asyncssh.SSHServerConnection],
        listen_host: str,
        listen_port: int,
    ) -> asyncio.Server:
        """Listen on exactly this address. OSError where that is not possible."""
        return await asyncio.get_running_loop().create_server(
            lambda: self._build_carrier(session_factory("", 0)), listen_host, listen_port
        )

    def _build_carrier(self, ssh: asyncssh.SSHServerConnection) -> DataPath | PlainCarrier:
        carrier = build_carrier(ssh, self._admission.admits)
        ssh.set_extra_info(**{CARRIER: carrier})
        return carrier
