"""One's own version of a workload beside the stable one, for rules that send one's requests to it.

cluster ─► workload, Services ─► shadow with its pods' labels and the mark ─► listeners there
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from ktnet.cluster.exchange.exposure import Exposure, resolve_exposures
from ktnet.cluster.exchange.workload import Subject as Workload
from ktnet.cluster.exchange.workload import find_services, find_subject
from ktnet.cluster.mesh.marks import build_labels, build_name, build_rules
from ktnet.cluster.rights import list_required
from ktnet.cluster.server.review import require_rights
from ktnet.errors import Conflict, NotFound
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.inbound import build_exposing_spec, open_exposing_tunnel
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.report import Report
from ktnet.session.running import Running


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
class Subject:
    """What is meshed, as it was found before anything was made."""

    cluster: Cluster
    workload: Workload
    services: list[dict[str, Any]]
    labels: dict[str, str]
    """Of the version's pod: the workload's, and the mark."""
    session: str

    @property
    def hosts(self) -> list[str]:
        """The Services' names."""
        return [each["metadata"]["name"] for each in self.services]


@asynccontextmanager
async def open_mesh_session(options: MeshOptions, report: Report) -> AsyncIterator[Running]:
    """Serves until the context is left; then nothing of it remains. Nothing of the user's changes.

    Raises NotFound for an unknown workload, Conflict where somebody has the mark, and a KtnetError
    that says which part failed, everything undone.
    """
    async with (
        open_subject(options, report) as subject,
        open_version(options, subject, report) as session,
    ):
        labels = ", ".join(f"{key}={text}" for key, text in subject.labels.items())
        report.show(f"# labels: {labels}")
        for host in subject.hosts:
            report.note(
                f"without rules, Service {host} sends a random share of all its traffic here"
            )
            pod_labels = subject.workload.pod_labels
            report.show(build_rules(host, pod_labels, options.key, options.value))
        yield session


@asynccontextmanager
async def open_subject(options: MeshOptions, report: Report) -> AsyncIterator[Subject]:
    """What is to be meshed, and the rights for it. Nothing is made."""
    async with open_cluster(options.cluster) as cluster:
        report.step("cluster", cluster.describe())
        via = options.shadow.via
        needed = list_required("mesh", port_forward=via == "port-forward")
        await require_rights(cluster.api, cluster.namespace, needed)
        workload = await find_subject(cluster.api, cluster.namespace, options.workload)
        services = await find_services(cluster.api, cluster.namespace, workload.pod_labels)
        name = build_name(workload.name, options.value)
        labels = build_labels(workload.pod_labels, options.key, options.value)
        yield Subject(cluster, workload, services, labels, name)


@asynccontextmanager
async def open_version(
    options: MeshOptions, subject: Subject, report: Report
) -> AsyncIterator[Running]:
    """The marked pod beside the others, and its ports that lead here.

    Raises Conflict where somebody has the mark.
    """
    cluster, name, title = subject.cluster, subject.session, subject.workload.title
    ports = resolve_exposures(options.exposures, subject.workload.pod_spec, subject.services)
    spec = build_exposing_spec(options.shadow, cluster.namespace, ports, "mesh")
    spec = replace(spec, session=name, pod_labels=tuple(subject.labels.items()))
    try:
        await cluster.api.get("jobs", name, namespace=cluster.namespace)
    except NotFound:
        pass
    else:
        raise Conflict(
            f"somebody has the mark {options.value} of {title}: there is a Job {name}",
            hint="choose another --version-mark; `ktnet status` says whose it is",
        )
    async with open_exposing_tunnel(cluster, spec, ports, report) as inbound:
        report.step("mark", f"{options.key}={options.value} on {name}")
        yield Running(
            tunnel=inbound.tunnel,
            connections=inbound.ledger,
            describe_own=lambda: {
                "name": title,
                "mark": f"{options.key}: {options.value}",
                "exposed": inbound.describe(),
            },
            watch=inbound.tunnel.watch,
            describe_end=inbound.tunnel.describe_end,
        )
