"""Pods that the laptops may reach directly, for `ktnet connect --via direct`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address
from typing import Any

from ktnet.errors import HostNetworkError
from ktnet.lab.node.laptop import Laptop
from ktnet.lab.node.network import TABLE, run_nft

log = logging.getLogger(__name__)

VIA_LABEL = "ktnet.dev/via"
DIRECT = "direct"


class DirectPaths:
    """Routes on the laptops, and the node's leave to use them."""

    def __init__(self, laptops: Sequence[Laptop]) -> None:
        self._laptops = laptops

    @contextlib.asynccontextmanager
    async def opened(self, pod: dict[str, Any], address: IPv4Address) -> AsyncIterator[None]:
        """Open meanwhile for a pod that asks for it by its label; for others nothing happens."""
        labels = pod["metadata"].get("labels") or {}
        if labels.get(VIA_LABEL) != DIRECT:
            yield
            return
        await run_nft(f"add element ip {TABLE} direct {{ {address} }}")
        try:
            for laptop in self._laptops:
                try:
                    await laptop.add_route(address)
                except HostNetworkError as error:
                    # Its user has taken its network down, perhaps.
                    log.warning("%s", error)
            yield
        finally:
            for laptop in self._laptops:
                await laptop.remove_route(address)
            await run_nft(f"delete element ip {TABLE} direct {{ {address} }}")
