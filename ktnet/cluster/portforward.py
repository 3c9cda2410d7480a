"""A byte stream to a port of a pod, through the API server, without a local TCP port.

`open_forward` dials; what it gives is an asyncio transport like any other (`forwardtransport`).
"""

from __future__ import annotations

import asyncio

from ktnet.cluster.forwardtransport import ClosedEarly, ForwardTransport, ProtocolFactory
from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.errors import NotFound, RemoteProtocolError, TunnelError
from ktnet.wire.portforward import SUBPROTOCOL, ClientDecoder

_OPEN_TIMEOUT_S = 15
"""For the server to reach the kubelet, after the WebSocket is up."""


async def open_forward(
    api: Api,
    namespace: str,
    pod: str,
    port: int,
    protocol_factory: ProtocolFactory,
    tasks: asyncio.TaskGroup,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connect to 127.0.0.1:port in the pod, like `loop.create_connection`.

    `tasks` carries the stream for as long as it lives. Raises TunnelError with the server's cause,
    ClusterUnreachable or Forbidden; what goes wrong later the protocol's `connection_lost` gets.
    """
    try:
        connection = await api.dial_websocket(
            "pods", pod, "portforward", {"ports": port}, namespace=namespace, protocol=SUBPROTOCOL
        )
    except (NotFound, Refused) as error:  # The pod is gone, or has no node or network.
        raise TunnelError(f"no port-forward to pod {pod}: {error.message}") from error
    if connection.subprotocol != SUBPROTOCOL:
        connection.close()
        raise RemoteProtocolError(f"the API server does not speak {SUBPROTOCOL}")
    transport = ForwardTransport(connection, ClientDecoder(port), protocol_factory)
    try:
        connection.hand_over(transport)
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            protocol = await transport.opened
    except BaseException as error:
        transport.abort()
        if isinstance(error, ClosedEarly):
            message = f"the port-forward to pod {pod} was closed before it opened"
            raise TunnelError(message) from None
        if isinstance(error, TimeoutError):
            raise TunnelError(f"the kubelet of pod {pod} does not answer") from None
        raise
    tasks.create_task(transport.run(), name=f"port-forward to {pod}:{port}")
    return transport, protocol
