"""One small connection through TUN and tunnel, before anything else is sent that way.

A firewall of this machine may eat what comes out of a TUN, and a tunnel may be up without
passing anything: better to learn it from one connection of our own than from all the user's.
"""

from __future__ import annotations

import asyncio
import secrets

from ktnet.errors import HostNetworkError

PROBE_PORT = 7
"""The echo service's (RFC 862): the far side answers with what it is sent."""

NONCE_BYTES = 16


async def probe(address: str, timeout_s: float) -> None:
    """Sends a random nonce to the echo at `address` and waits for it to come back.

    Raises HostNetworkError where it doesn't within `timeout_s`.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address, PROBE_PORT)
            try:
                writer.write(nonce)
                echoed = await reader.readexactly(NONCE_BYTES)
            finally:
                writer.close()
    except (OSError, EOFError) as error:
        raise HostNetworkError(
            f"a first connection through TUN and tunnel failed: {error or 'no answer'}",
            hint="a firewall of this machine may drop what comes out of a TUN device",
        ) from error
    if echoed != nonce:
        raise HostNetworkError("the tunnel's far side did not echo what it was sent")
