"""The process put into a laptop's link, on the node; the laptop's own end isn't touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

from pyroute2 import AsyncIPRoute

from ktnet.lab.node.namespaces import write_sysctl
from ktnet.lab.node.network import (
    LAN_BRIDGE,
    add_bridge,
    explained,
    open_shared_links,
    remove_link,
    set_up,
)
from ktnet.lab.shaping.tap import open_tap

ARP_IGNORE_ALL = "8"
"""Answer for none of this machine's addresses (Linux's networking/ip-sysctl, arp_ignore): the node
is reached through the process, not from the bridge before it."""


@contextlib.asynccontextmanager
async def open_splice(link: str) -> AsyncIterator[Process]:
    """A running `ktnet.lab.shaping.process` in `link`, a port of the LAN's bridge.

    On leaving it is ended and the link is a port of that bridge again. Should it end before,
    nothing passes until then. Raises HostNetworkError.
    """
    suffix = link.partition("-")[2]
    bridge, near, far = f"cut-{suffix}", f"near-{suffix}", f"far-{suffix}"
    async with open_shared_links() as links:
        try:
            process = await _start(near, far)
            try:
                with explained(f"put a worse network into {link}"):
                    await add_bridge(links, bridge)
                    write_sysctl(f"net.ipv4.conf.{bridge}.arp_ignore", ARP_IGNORE_ALL)
                    for name, master in ((far, LAN_BRIDGE), (near, bridge)):
                        await _join(links, name, master)
                        await set_up(links, name)
                    # Up or down as it is: its cable may be pulled.
                    await _join(links, link, bridge)
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        finally:
            await _join(links, link, LAN_BRIDGE)
            await remove_link(links, bridge)


async def _start(near: str, far: str) -> Process:
    """The process, which alone has the two devices."""
    with contextlib.ExitStack() as stack:
        taps = []
        for name in (near, far):
            taps.append(open_tap(name))
            stack.callback(os.close, taps[-1])
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ktnet.lab.shaping.process", *map(str, taps)),
            pass_fds=taps,
            stdin=PIPE,
            stdout=PIPE,
        )


async def _join(links: AsyncIPRoute, name: str, bridge: str) -> None:
    """Makes a link a port of a bridge; one that is gone is no error."""
    (master,) = await links.link_lookup(ifname=bridge)
    for index in await links.link_lookup(ifname=name):
        with explained(f"make {name} a port of {bridge}"):
            await links.link("set", index=index, master=master)
