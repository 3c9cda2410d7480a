"""One's own version of a workload beside the stable one, for rules that send one's requests to it.

cluster ─► workload, Services ─► shadow with its pods' labels and the mark ─► listeners there
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from ktnet.cluster.exposure import Exposure, resolve_exposures
from ktnet.cluster.mesh import build_labels, build_name, build_rules
from ktnet.cluster.readiness import wait_until_ready
from ktnet.cluster.review import require_rights
from ktnet.cluster.rights import list_required
from ktnet.cluster.workload import find_services, find_subject
from ktnet.errors import Conflict, NotFound
from ktnet.session.cluster import open_cluster
from ktnet.session.inbound import Inbound, open_inbound
from ktnet.session.live import LiveRequest
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.report import Report
from ktnet.session.run import build_exposing_spec
from ktnet.session.tunnel import Tunnel, open_tunnel


@dataclass(frozen=True)
class MeshOptions:
    """Whose version, and by which mark it is known."""

    cluster: ClusterOptions
    shadow: ShadowOptions
    workload: str
    exposures: tuple[Exposure, ...]
    key: str
    value: str
    on_disconnect: str = "origin"
    """Mode auto: "origin" or "refuse"."""


@dataclass(frozen=True)
class MeshSession:
    """A version that leads here."""

    workload: str
    mark: str
    tunnel: Tunnel
    inbound: Inbound

    async def watch(self) -> None:
        """Has the tunnel come back whenever it breaks; raises what can't come back."""
        await self.tunnel.watch()

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self.tunnel.shadow.is_gone:
            return "the cluster is as it was, and this machine was never changed"
        return f"{self.tunnel.shadow.name} in the cluster ends by itself"

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            **self.tunnel.describe(),
            "name": self.workload,
            "mark": self.mark,
            "exposed": self.inbound.describe(),
        }

    async def tell_live(self, _: LiveRequest) -> dict[str, Any]:
        """What goes on, for the dashboard."""
        return await self.tunnel.tell_live()

    async def explain_name(self, _name: str, _qtype: int) -> dict[str, Any]:
        """Raises NotFound: no name of this machine is decided upon here."""
        raise NotFound("`ktnet mesh` doesn't touch this machine's names")


@asynccontextmanager
async def open_mesh_session(options: MeshOptions, report: Report) -> AsyncIterator[MeshSession]:
    """Serves until the context is left; then nothing of it remains. Nothing of the user's changes.

    Raises NotFound for an unknown workload, Conflict where somebody has the mark, and a KtnetError
    that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(open_cluster(options.cluster))
        report.step("cluster", cluster.describe())
        via = options.shadow.via
        needed = list_required("mesh", port_forward=via == "port-forward")
        await require_rights(cluster.api, cluster.namespace, needed)
        subject = await find_subject(cluster.api, cluster.namespace, options.workload)
        services = await find_services(cluster.api, cluster.namespace, subject.pod_labels)
        ports = resolve_exposures(options.exposures, subject.pod_spec, services)
        name = build_name(subject.name, options.value)
        labels = build_labels(subject.pod_labels, options.key, options.value)
        spec = build_exposing_spec(options.shadow, cluster.namespace, ports)
        spec = replace(spec, command="mesh", session=name, pod_labels=tuple(labels.items()))
        try:
            await cluster.api.get("jobs", name, namespace=cluster.namespace)
        except NotFound:
            pass
        else:
            raise Conflict(
                f"somebody has the mark {options.value} of {subject.title}: there is a Job {name}",
                hint="choose another --version-mark; `ktnet status` says whose it is",
            )
        tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))
        inbound = await parts.enter_async_context(open_inbound(tunnel, ports, report))
        # Callers are served until the shadow has sent the last of them away.
        parts.push_async_callback(tunnel.shadow.delete)
        if await inbound.is_listening():
            await inbound.prove()
            await wait_until_ready(
                cluster.api, cluster.namespace, tunnel.shadow.pod.name, spec.timeout_s
            )
        report.step("mark", f"{options.key}={options.value} on {name}")
        report.show("# labels: " + ", ".join(f"{key}={text}" for key, text in labels.items()))
        for service in services:
            host = service["metadata"]["name"]
            report.note(
                f"without rules, Service {host} sends a random share of all its traffic here"
            )
            report.show(build_rules(host, subject.pod_labels, options.key, options.value))
        mark = f"{options.key}: {options.value}"
        yield MeshSession(subject.title, mark, tunnel, inbound)
