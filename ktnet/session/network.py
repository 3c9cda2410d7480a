"""A cluster's network as a machine, or one command, is to see it: what is there, and the way in.

cluster: Services, ranges ─┐
tunnel: shadow pod, SSH ───┴─► ClusterNetwork
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ktnet.cluster.cidrs import ClusterRanges, find_cluster_ranges
from ktnet.cluster.services import ServiceIndex, open_service_index
from ktnet.session.cluster import Cluster
from ktnet.session.options import ConnectOptions
from ktnet.session.report import Report
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel
from ktnet.tasks import open_tasks


@dataclass(frozen=True)
class ClusterNetwork:
    """What is to be captured, and where it goes."""

    tunnel: Tunnel
    services: ServiceIndex
    ranges: ClusterRanges


@asynccontextmanager
async def open_cluster_network(
    cluster: Cluster, options: ConnectOptions, report: Report
) -> AsyncIterator[ClusterNetwork]:
    """The ranges are looked for while the shadow starts. Raises a KtnetError that says which part
    failed, everything undone."""
    # The task inside what it uses: it has to be over before the connections to it are closed.
    async with (
        open_service_index(cluster.api, cluster.namespace) as services,
        open_tasks() as tasks,
    ):
        finding_ranges = tasks.create_task(
            find_cluster_ranges(cluster.api, cluster.namespace, pod_ips=not options.no_pod_ips)
        )
        report.step("cluster", cluster.describe())
        spec = build_spec(options.shadow, cluster.namespace)
        async with open_tunnel(cluster, spec, report) as tunnel:
            yield ClusterNetwork(tunnel, services, await finding_ranges)
