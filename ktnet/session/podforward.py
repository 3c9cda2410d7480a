"""Flows to pods by the API server's own port-forward: a WebSocket each, and no shadow.

It has no half-close (`ktnet.wire.portforward`): a FIN of the application's stays on this side, and
the pod's end ends both directions.
"""

from __future__ import annotations

import asyncio

from ktnet.cluster.portforward import open_forward
from ktnet.cluster.server.api import Api
from ktnet.errors import KtnetError, TunnelError
from ktnet.wire.flow import OpenFailure, Receiver


class PodDialer:
    """Opens flows to pods of one namespace; the host is a pod's name (a
    `ktnet.wire.flow.Dialer`)."""

    def __init__(self, api: Api, namespace: str, tasks: asyncio.TaskGroup) -> None:
        self._api = api
        self._namespace = namespace
        self._tasks = tasks

    def open_tcp(
        self, host: str, port: int, _origin: tuple[str, int], receiver: Receiver
    ) -> PodOpening:
        """Have the pod's kubelet connect to 127.0.0.1:port in it."""
        opening = PodOpening(receiver)
        self._tasks.create_task(self._open(host, port, opening), name=f"open {host}:{port}")
        return opening

    async def _open(self, pod: str, port: int, opening: PodOpening) -> None:
        try:
            await open_forward(
                self._api,
                self._namespace,
                pod,
                port,
                lambda: PodFlow(opening.receiver),
                self._tasks,
            )
        except TunnelError:
            opening.fail(OpenFailure.REFUSED)
        except KtnetError:
            opening.fail(OpenFailure.TUNNEL_DOWN)


class PodOpening:
    """A flow that is being opened (a `ktnet.wire.flow.Opening`)."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver: Receiver | None = receiver

    def cancel(self) -> None:
        """Give up: what opens later is closed."""
        self.receiver = None

    def fail(self, failure: OpenFailure) -> None:
        """It could not be opened."""
        if self.receiver is not None:
            self.receiver.open_failed(failure)


class PodFlow(asyncio.Protocol):
    """One WebSocket, as a flow."""

    def __init__(self, receiver: Receiver | None) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None

    # -- what the port-forward does --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open; whether the pod listens shows later."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        self._transport = transport
        if self._receiver is None:
            transport.abort()
        else:
            self._receiver.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the pod."""
        if self._receiver is not None:
            self._receiver.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The pod's end, or (with `exc`) a refusal or a break."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(reset=exc is not None)

    def pause_writing(self) -> None:
        """The API server takes no more."""
        if self._receiver is not None:
            self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        if self._receiver is not None:
            self._receiver.resume_writing()

    # -- what the application does ---------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Send."""
        if self._transport is not None:
            self._transport.write(bytes(data))

    def write_eof(self) -> None:
        """Nothing says that on a port-forward."""

    def reset(self) -> None:
        """Cut it."""
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Read no more."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()
