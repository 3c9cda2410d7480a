"""A few packets through TUN and tunnel, before anything else is sent that way.

A firewall of this machine may eat what comes out of a TUN, and a tunnel may be up without
passing anything: better to learn it from connections of our own than from all the user's.
"""

from __future__ import annotations

import asyncio
import secrets

from ktnet.errors import HostNetworkError

PROBE_PORT = 7
"""The echo service's (RFC 862): the far side answers with what it is sent."""

NONCE_BYTES = 16

RESET_TIME_S = 5.0
"""For a reset out of the TUN, which comes at once; but a first SYN may be lost, and is repeated
after one second, and after two more."""

ICMP_TRIES = 4
ICMP_TIME_S = 0.5
"""For an ICMP error, each time: it comes from this very process."""

_REFUSED_PORT = 9
"""Any but PROBE_PORT: the engine refuses it by itself, TCP by a reset and UDP by ICMP."""


async def probe_firewall(address: str, link: str) -> bool:
    """Whether this machine hears ICMP errors of a TUN `link`, from its peer's address there.

    The tunnel has no part in it. Raises HostNetworkError where not even a reset of TCP arrives.
    """
    try:
        async with asyncio.timeout(RESET_TIME_S):
            _, writer = await asyncio.open_connection(address, _REFUSED_PORT)
        writer.close()
    except ConnectionRefusedError:
        pass
    except OSError as error:
        raise HostNetworkError(
            f"a firewall of this machine drops what is sent into {link} or comes out of it",
            hint=f'allow both, such as: nft insert rule inet filter input iifname "{link}" accept;'
            " or do without: ktnet connect --mode proxy",
        ) from error
    for _ in range(ICMP_TRIES):
        if await _hears_icmp(address):
            return True
    return False


class _Listener(asyncio.DatagramProtocol):
    """For an error about what it has sent."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def error_received(self, exc: Exception) -> None:
        """Of ICMP, since the socket is connected (udp(7))."""
        self.heard.set()


async def _hears_icmp(address: str) -> bool:
    loop = asyncio.get_running_loop()
    transport, listener = await loop.create_datagram_endpoint(
        _Listener, remote_addr=(address, _REFUSED_PORT)
    )
    try:
        transport.sendto(b"?")
        async with asyncio.timeout(ICMP_TIME_S):
            await listener.heard.wait()
    except TimeoutError:
        pass  # perhaps in the very turn in which it was heard
    finally:
        transport.abort()
    return listener.heard.is_set()


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
