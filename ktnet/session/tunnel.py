"""A shadow in the cluster and the way to it, and nothing of this machine's changed.

cluster: Job, Lease, pod, host key ─► link: SSH through the port-forward ─► Tunnel
                 ▲                                  ▲
                 └──────── keeper: again, whenever it breaks
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from ktnet.cluster.rights import list_required
from ktnet.cluster.server.review import require_rights
from ktnet.cluster.shadow.manifests import Sideload
from ktnet.cluster.shadow.session import ShadowSession, ShadowSpec, open_shadow_session
from ktnet.cluster.sideload.packing import pack_sideload
from ktnet.cluster.sideload.platforms import build_default_image
from ktnet.errors import TunnelError
from ktnet.link.keys import new_client_key
from ktnet.session.cluster import Cluster
from ktnet.session.keeper import Keeper, ServeLink
from ktnet.session.leftovers import tidy
from ktnet.session.options import ShadowOptions
from ktnet.session.report import Report
from ktnet.tasks import open_tasks
from ktnet.wire.flow import Opening, Receiver
from ktnet.wire.release import VERSION

UNCHANGED = "the cluster is as it was, and this machine was never changed"

LOOK_TIMEOUT_S = 1.0
"""For a round trip that somebody waits for who looks on: the next look is close."""


@dataclass(frozen=True)
class Tunnel:
    """The way into the cluster: flows are opened and names are asked there (a
    `ktnet.wire.flow.Dialer`)."""

    cluster: Cluster
    shadow: ShadowSession
    keeper: Keeper

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """Have the shadow connect to host:port; never raises (see `LastingDialer.open_tcp`)."""
        return self.keeper.dialer.open_tcp(host, port, origin, receiver)

    async def ask(self, query: bytes) -> bytes:
        """Have the pod's resolver answer one DNS message; raises DnsError or TunnelError."""
        return await self.keeper.dialer.ask(query)

    async def tell_live(self) -> dict[str, Any]:
        """How far the shadow is now: `round_trip_s` in seconds, None where no answer comes."""
        try:
            round_trip_s = await self.keeper.dialer.round_trip(LOOK_TIMEOUT_S)
        except TunnelError:
            return {"round_trip_s": None}
        return {"round_trip_s": round(round_trip_s, 6)}

    async def round_trip(self) -> float:
        """Seconds that a byte takes to the shadow and back; raises TunnelError."""
        return await self.keeper.dialer.round_trip()

    async def serve_each_link(self, serve: ServeLink) -> None:
        """Run `serve` beside every SSH connection there will be, from its login to its end.

        For what has to be made anew on each, such as listeners in the pod. A connection that is
        lost cancels `serve`; what it raises by itself is raised here. For a few seconds there may
        be two connections, while a pod that goes is left for another.
        """
        await self.keeper.serve_each_link(serve)

    async def watch(self) -> None:
        """Have it come back whenever it breaks; raises what can't come back."""
        await self.keeper.run()

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self.shadow.is_gone:
            return UNCHANGED
        return f"{self.shadow.name} in the cluster ends by itself"

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            "namespace": self.shadow.spec.namespace,
            "context": self.cluster.context,
            "session": self.shadow.name,
            "pod": self.shadow.pod.name,
            "via": self.shadow.spec.via,
            "state": self.keeper.state.state,
            "tunnel": self.keeper.state.describe(),
            "image": self.shadow.spec.image,
            "shadow_version": self.keeper.link.shadow_version,
            "ssh": self.keeper.link.path,
        }


def build_spec(options: ShadowOptions, namespace: str) -> ShadowSpec:
    """The shadow that these options ask for; `open_tunnel` puts its key in."""
    return ShadowSpec(
        namespace=namespace,
        image=options.image
        or (build_default_image() if options.sideload else f"ktnet-shadow:{VERSION}"),
        via=options.via,
        image_pull_secrets=options.image_pull_secrets,
        service_account=options.service_account,
        node_selector=options.node_selector,
        labels=options.labels,
        annotations=options.annotations,
        resources=options.resources,
        idle_s=options.idle_s,
        timeout_s=options.timeout_s,
        sideload=Sideload(options.sideload_wheels) if options.sideload else None,
    )


@asynccontextmanager
async def open_tunnel(cluster: Cluster, spec: ShadowSpec, report: Report) -> AsyncIterator[Tunnel]:
    """Has a shadow made and logs in to it; on leaving, both are gone.

    Raises a KtnetError that says which part failed, everything undone. From then on `Tunnel.watch`
    has it come back whenever it breaks.
    """
    needed = list_required(
        "connect",
        port_forward=spec.via == "port-forward",
        sideload=spec.sideload is not None,
    )
    await require_rights(cluster.api, cluster.namespace, needed)
    if spec.sideload is not None:
        report.waiting("packing code and wheels")
        spec = await pack_sideload(cluster.api, spec, spec.sideload)
    await tidy(cluster, report)
    key, public_key = new_client_key()
    spec = replace(spec, authorized_key=public_key)
    async with open_shadow_session(cluster.api, spec, report.waiting) as shadow:
        report.step("shadow", f"{shadow.pod.name} runs {spec.image}")
        async with open_tasks() as streams, open_tasks() as links:
            keeper = Keeper(shadow, key, report, streams, links)
            await keeper.connect()
            report.step("tunnel", f"SSH by {spec.via}, host key pinned")
            try:
                yield Tunnel(cluster, shadow, keeper)
            finally:
                keeper.dialer.shut()
