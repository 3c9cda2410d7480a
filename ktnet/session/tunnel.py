"""A shadow in the cluster and the way to it, and nothing of this machine's changed.

cluster: Job, Lease, pod, host key ──► link: SSH through the port-forward ──► Tunnel
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from ktnet.cluster.review import require_rights
from ktnet.cluster.rights import list_required
from ktnet.cluster.session import ShadowSession, ShadowSpec, open_shadow_session
from ktnet.errors import HostKeyMismatch
from ktnet.link.connection import Link, open_link
from ktnet.link.keys import ClientKey, new_client_key
from ktnet.session.cluster import Cluster
from ktnet.session.options import ShadowOptions
from ktnet.session.report import Report
from ktnet.wire.flow import Opening, Receiver
from ktnet.wire.release import VERSION


@dataclass(frozen=True)
class Tunnel:
    """The way into the cluster: flows are opened and names are asked there (a
    `ktnet.wire.flow.Dialer`)."""

    cluster: Cluster
    shadow: ShadowSession
    _link: Link

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """Have the shadow connect to host:port; never raises (see `Dialer`)."""
        return self._link.open_tcp(host, port, origin, receiver)

    async def ask(self, query: bytes) -> bytes:
        """Have the pod's resolver answer one DNS message; raises DnsError or TunnelError."""
        return await self._link.ask(query)

    async def round_trip(self) -> float:
        """Seconds that a byte takes to the shadow and back; raises TunnelError."""
        return await self._link.round_trip()

    async def serve_each_link(self, serve: Callable[[Link], Awaitable[None]]) -> None:
        """Run `serve` beside every SSH connection there will be, from its login to its end.

        For what has to be made anew on each, such as listeners in the pod. A connection that is
        lost cancels `serve`; what it raises by itself is raised here.
        """
        await serve(self._link)

    async def watch(self) -> None:
        """Wait until it is lost; raises what became of it."""
        raise await self._link.wait_closed()

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            "namespace": self.shadow.spec.namespace,
            "context": self.cluster.context,
            "session": self.shadow.name,
            "pod": self.shadow.pod.name,
            "via": self.shadow.spec.via,
            "image": self.shadow.spec.image,
            "shadow_version": self._link.shadow_version,
            "ssh": self._link.path,
        }


def build_spec(options: ShadowOptions, namespace: str) -> ShadowSpec:
    """The shadow that these options ask for; `open_tunnel` puts its key in."""
    return ShadowSpec(
        namespace=namespace,
        image=options.image or f"ktnet-shadow:{VERSION}",
        via=options.via,
        image_pull_secrets=options.image_pull_secrets,
        service_account=options.service_account,
        node_selector=options.node_selector,
        labels=options.labels,
        annotations=options.annotations,
        resources=options.resources,
        idle_s=options.idle_s,
        timeout_s=options.timeout_s,
    )


@asynccontextmanager
async def open_tunnel(cluster: Cluster, spec: ShadowSpec, report: Report) -> AsyncIterator[Tunnel]:
    """Has a shadow made and logs in to it; on leaving, both are gone.

    Raises a KtnetError that says which part failed, everything undone.
    """
    needed = list_required("connect", port_forward=spec.via == "port-forward")
    await require_rights(cluster.api, cluster.namespace, needed)
    async with AsyncExitStack() as parts:
        key, public_key = new_client_key()
        spec = replace(spec, authorized_key=public_key)
        opening = open_shadow_session(cluster.api, spec, report.waiting)
        shadow = await parts.enter_async_context(opening)
        report.step("shadow", f"{shadow.pod.name} runs {spec.image}")
        link = await _enter_link(parts, shadow, key)
        report.step("tunnel", f"SSH by {spec.via}, host key pinned")
        yield Tunnel(cluster, shadow, link)


async def _enter_link(parts: AsyncExitStack, shadow: ShadowSession, key: ClientKey) -> Link:
    """Logs in to the shadow."""
    try:
        return await parts.enter_async_context(
            open_link(shadow.connector(), client_key=key, host_key=shadow.host_key)
        )
    except HostKeyMismatch:
        # Its container may have started anew, with a new key, since the log was read: look once
        # more. Whoever reads along can't change the log, so a second mismatch is final.
        await shadow.read_host_key()
        return await parts.enter_async_context(
            open_link(shadow.connector(), client_key=key, host_key=shadow.host_key)
        )
