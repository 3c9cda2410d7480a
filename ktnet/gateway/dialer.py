"""Connections: the cluster's through the tunnel, all others from here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from ktnet.stream.socketflow import SocketFlow
from ktnet.stream.target import TargetFailed, build_failure, connect_to_any
from ktnet.wire.flow import Dialer, Opening, Receiver


class Networks:
    """Which addresses are the cluster's."""

    def __init__(self, networks: Sequence[IPv4Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: IPv4Address) -> bool:
        return any(address in network for network in self._networks)


class Gateway:
    """A `ktnet.wire.flow.Dialer` over a tunnel and this machine's own network."""

    def __init__(self, cluster: Networks, tunnel: Dialer, tasks: asyncio.TaskGroup) -> None:
        self._cluster = cluster
        self._tunnel = tunnel
        self._tasks = tasks

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """By the tunnel where `host`, an address, is the cluster's; else as from this machine."""
        if IPv4Address(host) in self._cluster:
            return self._tunnel.open_tcp(host, port, origin, receiver)
        return _Dialing(
            self._tasks.create_task(_dial(host, port, receiver), name=f"dial {host}:{port}")
        )


class _Dialing:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        """Give up."""
        self._task.cancel()


async def _dial(host: str, port: int, receiver: Receiver) -> None:
    try:
        sock = await connect_to_any(host, port)
    except TargetFailed as failed:
        receiver.open_failed(failed.failure)
        return
    try:
        await asyncio.get_running_loop().create_connection(lambda: SocketFlow(receiver), sock=sock)
    except OSError as error:  # reset meanwhile
        sock.close()
        receiver.open_failed(build_failure(error).failure)
    except BaseException:
        sock.close()
        raise
