"""Ports of the shadow that lead here: held only while something listens on this machine's.

local port ─► listens? ─ yes ─► the shadow listens, on every connection to it there is
                 └────── no ──► it doesn't: callers are refused, and the user is told
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from ktnet.cluster.exchange.exposure import ExposedPort
from ktnet.link.connection import Link
from ktnet.link.inbound import InboundListener
from ktnet.link.localport import LocalPort
from ktnet.session.live import LiveRequest
from ktnet.session.report import Report
from ktnet.session.tunnel import Tunnel
from ktnet.stream.ledger import Ledger
from ktnet.tasks import open_tasks

PROOF_TIMEOUT_S = 10.0


class Exposed:
    """One port."""

    def __init__(self, port: ExposedPort) -> None:
        self.port = port
        self.local = LocalPort(port.host, port.local)
        self.held: dict[Link, InboundListener] = {}
        """By each connection to the shadow; more than one while a pod is left for another."""
        self.first_held = asyncio.Event()

    @property
    def here(self) -> str:
        """This machine's side of it."""
        return f"{self.port.host}:{self.port.local}"

    async def hold(self, link: Link, ledger: Ledger) -> None:
        """Have the shadow at the other end of `link` listen while something does here."""
        target = (self.port.host, self.port.local)
        while True:
            await self.local.wait_for(listening=True)
            async with link.listen(self.port.remote, target, ledger) as held:
                self.held[link] = held
                self.first_held.set()
                try:
                    await self.local.wait_for(listening=False)
                finally:
                    del self.held[link]

    async def report_changes(self, report: Report) -> None:
        """Tell the user when her port has no listener, and when it has one again."""
        if not await self.local.look():
            report.note(
                f"nothing listens on {self.here}: callers of port {self.port.remote} are refused "
                "until something does"
            )
        await self.local.wait_for(listening=True)
        while True:
            await self.local.wait_for(listening=False)
            report.note(
                f"nothing listens on {self.here} any more: callers of port {self.port.remote} are "
                "refused"
            )
            await self.local.wait_for(listening=True)
            report.note(f"{self.here} listens again")


class Inbound:
    """All of a session's."""

    def __init__(self, tunnel: Tunnel, ports: Iterable[ExposedPort]) -> None:
        self.exposed = [Exposed(port) for port in ports]
        self.ledger = Ledger()
        self._tunnel = tunnel

    async def serve(self, link: Link) -> None:
        """Until the link is lost."""
        async with open_tasks() as tasks:
            for each in self.exposed:
                tasks.create_task(each.hold(link, self.ledger))
            await link.wait_closed()

    async def is_listening(self) -> bool:
        """Whether something listens here on every port at this moment."""
        return all([await each.local.look() for each in self.exposed])

    async def prove(self) -> None:
        """Wait until something listens here on every port, and show that each can be reached.

        By a connection from the pod to its own address. TunnelError where it doesn't get here.
        """
        for each in self.exposed:
            await each.first_held.wait()
            link = self._tunnel.keeper.link
            listener = each.held.get(link)
            if listener is not None:
                await link.prove(listener, self._tunnel.shadow.pod.ip, PROOF_TIMEOUT_S)

    async def tell_live(self, request: LiveRequest) -> dict[str, Any]:
        """What goes on, for who looks on."""
        return {
            **await self._tunnel.tell_live(),
            "flows": self.ledger.describe_flows(request.flows),
        }

    def describe(self) -> dict[str, Any]:
        """For `ktnet status`: the ports, and the counts of what came by them."""
        return {"exposed": self._describe_ports(), "flows": self.ledger.describe()}

    def _describe_ports(self) -> list[dict[str, Any]]:
        return [
            {
                "port": each.port.remote,
                "local": each.here,
                "listening": each.local.is_listening,
                "held": bool(each.held),
            }
            for each in self.exposed
        ]


@asynccontextmanager
async def open_inbound(
    tunnel: Tunnel, ports: Iterable[ExposedPort], report: Report
) -> AsyncIterator[Inbound]:
    """Serve these ports of the shadow until the context is left."""
    inbound = Inbound(tunnel, ports)
    async with open_tasks() as tasks:
        for each in inbound.exposed:
            tasks.create_task(each.local.run_watch())
            tasks.create_task(each.report_changes(report))
        tasks.create_task(tunnel.serve_each_link(inbound.serve))
        yield inbound
