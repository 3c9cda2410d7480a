"""Ports of the shadow that lead here: held only while something listens on this machine's.

local port ─► listens? ─ yes ─► the shadow listens, on every connection to it there is
                 └────── no ──► it doesn't: callers are refused, and the user is told
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from ktnet.cluster.exchange.exposure import ExposedPort
from ktnet.cluster.readiness import wait_until_ready
from ktnet.cluster.rights import Command
from ktnet.cluster.shadow.manifests import ShadowPort, ShadowSpec
from ktnet.link.connection import Link
from ktnet.link.inbound import InboundListener
from ktnet.link.localport import LocalPort
from ktnet.session.cluster import Cluster
from ktnet.session.options import ShadowOptions
from ktnet.session.report import Report
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel
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

    def describe(self) -> dict[str, Any]:
        """As JSON, for `ktnet status`."""
        return {
            "port": self.port.remote,
            "local": self.here,
            "listening": self.local.is_listening,
        }

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
        self.tunnel = tunnel

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
        """Wait until something listens here on every port, show that each can be reached, and wait
        until the pod is Ready.

        By a connection from the pod to its own address. TunnelError where it doesn't get here,
        ShadowFailed where it isn't Ready in time.
        """
        shadow = self.tunnel.shadow
        for each in self.exposed:
            await each.first_held.wait()
            link = self.tunnel.keeper.link
            listener = each.held.get(link)
            if listener is not None:
                await link.prove(listener, shadow.pod.ip, PROOF_TIMEOUT_S)
        await wait_until_ready(
            self.tunnel.cluster.api, shadow.spec.namespace, shadow.pod.name, shadow.spec.timeout_s
        )

    def describe(self) -> list[dict[str, Any]]:
        """The ports, for `ktnet status`."""
        return [{**each.describe(), "held": bool(each.held)} for each in self.exposed]


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


@asynccontextmanager
async def open_exposing_tunnel(
    cluster: Cluster, spec: ShadowSpec, ports: Iterable[ExposedPort], report: Report
) -> AsyncIterator[Inbound]:
    """A shadow whose ports lead here; Ready, where something listens on all of them."""
    async with (
        open_tunnel(cluster, spec, report) as tunnel,
        open_inbound(tunnel, ports, report) as inbound,
    ):
        try:
            if await inbound.is_listening():
                await inbound.prove()
            yield inbound
        finally:
            # Callers are served until the shadow has sent the last of them away.
            await tunnel.shadow.delete()


def build_exposing_spec(
    options: ShadowOptions, namespace: str, ports: Iterable[ExposedPort], command: Command
) -> ShadowSpec:
    """A shadow with these ports, of a session by this command."""
    shadow_ports = tuple(ShadowPort(port.remote, port.name) for port in ports)
    return replace(build_spec(options, namespace), ports=shadow_ports, command=command)
