"""A byte stream straight to the pod's address, where this machine has a route to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ktnet.errors import TunnelError

_CONNECT_TIMEOUT_S = 10


async def open_direct(
    address: str, port: int, protocol_factory: Callable[[], asyncio.BaseProtocol]
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connect to address:port, like `loop.create_connection`; raises TunnelError."""
    loop = asyncio.get_running_loop()
    hint = "is there a route to the pod network? If not, leave out --via direct"
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            return await loop.create_connection(protocol_factory, address, port)
    except TimeoutError:
        raise TunnelError(f"the pod's address {address} does not answer", hint=hint) from None
    except OSError as error:
        raise TunnelError(
            f"can't reach the pod at {address}:{port}: {error.strerror or error}", hint=hint
        ) from error
