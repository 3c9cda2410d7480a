"""Opens TCP connections from the pod as flows."""

from __future__ import annotations

import asyncio

from ktnet.stream.socketflow import SocketFlow
from ktnet.stream.target import TargetFailed, build_failure, connect_to_any
from ktnet.wire.flow import Receiver


class SocketOpening:
    """Dials one target for one receiver (a `ktnet.wire.flow.Opening`)."""

    def __init__(self, host: str, port: int, receiver: Receiver, tasks: asyncio.TaskGroup) -> None:
        self._receiver = receiver
        self._task = tasks.create_task(self._dial(host, port))

    def cancel(self) -> None:
        """Give up."""
        self._task.cancel()

    async def _dial(self, host: str, port: int) -> None:
        flow = SocketFlow(self._receiver)
        try:
            sock = await connect_to_any(host, port)
        except TargetFailed as error:
            self._receiver.open_failed(error.failure)
            return
        try:
            await asyncio.get_running_loop().create_connection(lambda: flow, sock=sock)
        except OSError as error:
            sock.close()
            self._receiver.open_failed(build_failure(error).failure)
        except BaseException:
            sock.close()
            raise
