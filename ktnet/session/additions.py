"""What the cluster's DNS names outside of the captured networks is captured before it is answered.

dns: an answer's addresses ──► Additions ──► names: routes, as ever by the helper, who checks them
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network

from ktnet.errors import CaptureRefused
from ktnet.host.additions import MAX_ADDED, plan_additions
from ktnet.host.checker import MAX_ROUTES
from ktnet.session.names import Names
from ktnet.session.report import Report

_WAIT_S = 1.0
"""For which an answer waits for its routes; they take milliseconds, and it is true without them."""


class Additions:
    """Addresses that were found by their names, until the session ends."""

    def __init__(
        self, names: Names, excluded: Iterable[IPv4Network | IPv4Address], report: Report
    ) -> None:
        self._names = names
        self._excluded = tuple(excluded)
        self._report = report
        self._refused: set[IPv4Network] = set()
        self._wanted: dict[IPv4Network, None] = {}
        self._change = asyncio.Condition()

    async def reach(self, addresses: tuple[IPv4Address, ...]) -> None:
        """Have a way to these, as far as they may be captured."""
        found = plan_additions(addresses, self._names.plan.routes, self._excluded)
        new = [network for network in found if network not in self._refused]
        if not new:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S), self._change:
                self._wanted |= dict.fromkeys(new)
                self._change.notify_all()
                await self._change.wait_for(lambda: self._wanted.keys().isdisjoint(new))

    async def run(self) -> None:
        """Capture them, until cancelled. Raises HostNetworkError, DnsError, Conflict."""
        while True:
            async with self._change:
                await self._change.wait_for(lambda: self._wanted)
                batch = tuple(self._wanted)
            await self._add(batch)
            async with self._change:
                for network in batch:
                    self._wanted.pop(network, None)
                self._change.notify_all()

    async def _add(self, batch: tuple[IPv4Network, ...]) -> None:
        names = self._names
        room = min(MAX_ADDED - len(names.added), MAX_ROUTES - len(names.plan.routes))
        if len(batch) > room:
            self._refuse(batch[room:], "there are too many")
            batch = batch[:room]
        if not batch:
            return
        try:
            await names.add_routes(batch)
        except CaptureRefused as error:
            if len(batch) == 1:
                self._refuse(batch, error.message)
            else:
                for network in batch:
                    await self._add((network,))
        else:
            self._report.note(f"{_join(batch)} captured too: the cluster's DNS named it")

    def _refuse(self, networks: tuple[IPv4Network, ...], why: str) -> None:
        self._refused |= set(networks)
        self._report.note(f"{_join(networks)} is named by the cluster's DNS, not captured: {why}")


def _join(networks: tuple[IPv4Network, ...]) -> str:
    return ", ".join(str(network.network_address) for network in networks)
