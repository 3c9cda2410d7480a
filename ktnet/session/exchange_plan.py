"""What an exchange will do, from what the cluster says of the workload: nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ktnet.cluster.exchange.exposure import (
    ExposedPort,
    Exposure,
    list_named_ports,
    list_target_ports,
    resolve_exposures,
)
from ktnet.cluster.exchange.restoring import Restoring, build_restoring_account
from ktnet.cluster.exchange.taking import check_free, check_selectable
from ktnet.cluster.exchange.workload import (
    Subject,
    find_autoscaler,
    find_front_services,
    find_gitops,
    find_services,
    find_subject,
)
from ktnet.cluster.rights import list_for_restoring
from ktnet.cluster.server.review import list_missing
from ktnet.cluster.shadow.account import may_make_account, read_pull_secrets
from ktnet.cluster.shadow.manifests import ShadowPort
from ktnet.errors import Forbidden, NotFound, UsageError
from ktnet.session.cluster import Cluster
from ktnet.session.report import Report
from ktnet.wire.record import Mode

Json = dict[str, Any]

_REHEARSED = "ktnet-exchange-rehearsal"
"""What the account is called in the dry run."""


@dataclass(frozen=True)
class ExchangePlan:
    """What is changed, and who takes its place."""

    subject: Subject
    ports: tuple[ExposedPort, ...]
    shadow_ports: tuple[ShadowPort, ...]
    pod_labels: dict[str, str] = field(default_factory=dict)
    hostname: str = ""
    subdomain: str = ""


async def plan_by_scale(
    cluster: Cluster,
    name: str,
    exposures: tuple[Exposure, ...],
    _on_disconnect: str,
    report: Report,
) -> ExchangePlan:
    """A workload's pods go, and the shadow has their labels.

    Raises NotFound, Conflict, UsageError.
    """
    api, namespace = cluster.api, cluster.namespace
    subject = await find_subject(api, namespace, name)
    await check_free(api, namespace, subject, subject.obj)
    services = await find_services(api, namespace, subject.pod_labels)
    if not services:
        raise NotFound(
            f"no Service sends requests to {subject.title}: there is nothing to exchange",
            hint="do its labels match the Service's selector?",
        )
    ports = resolve_exposures(exposures, subject.pod_spec, services)
    for each in _list_unexposed(services, subject.pod_spec, ports):
        report.note(f"port {each} of its pods isn't exposed: meanwhile it is refused")
    for who in find_gitops(subject.obj):
        report.note(f"{who} keeps {subject.title}, and may scale it up again meanwhile")
    try:
        autoscaler = await find_autoscaler(api, namespace, subject)
    except Forbidden:
        autoscaler = None
    if autoscaler:
        report.note(
            f"the HorizontalPodAutoscaler {autoscaler} scales {subject.title}: it pauses while "
            "that is at 0"
        )
    hostname = subdomain = ""
    if subject.plural == "statefulsets":
        hostname, subdomain = f"{subject.name}-0", str(subject.obj["spec"].get("serviceName") or "")
        lost = [f"{subject.name}-{number}" for number in range(1, subject.replicas)]
        if lost:
            report.note(f"the names of {', '.join(lost)} don't resolve meanwhile")
    shadow_ports = tuple(ShadowPort(port.remote, port.name) for port in ports)
    return ExchangePlan(subject, ports, shadow_ports, subject.pod_labels, hostname, subdomain)


async def plan_by_selector(
    cluster: Cluster,
    name: str,
    exposures: tuple[Exposure, ...],
    on_disconnect: str,
    report: Report,
) -> ExchangePlan:
    """A Service leads to the shadow, and its pods stay. Raises NotFound, Conflict, UsageError."""
    api, namespace = cluster.api, cluster.namespace
    subject, pod_spec = await find_service(cluster, name)
    check_selectable(subject.obj)
    pod_spec = pod_spec or await read_pod_spec(cluster, subject.pod_labels)
    await check_free(api, namespace, subject, subject.obj)
    for who in find_gitops(subject.obj):
        report.note(f"{who} keeps {subject.title}: where it resets the selector, it is set again")
    ports = resolve_exposures(exposures, pod_spec, [subject.obj])
    names = {number: name for name, number in list_named_ports(pod_spec)}
    origin = "away" if on_disconnect == "origin" else "never"
    shadow_ports = (
        *(ShadowPort(port.remote, port.name, origin) for port in ports),  # type: ignore[arg-type]
        *(
            ShadowPort(number, names.get(number, ""), "always")
            for number in _list_unexposed([subject.obj], pod_spec, ports)
        ),
    )
    return ExchangePlan(subject, ports, shadow_ports)


async def find_service(cluster: Cluster, name: str) -> tuple[Subject, Json]:
    """The Service that a user means, by its own name or its workload's; and the spec of the pods,
    where the workload says it. Raises NotFound, UsageError."""
    api, namespace = cluster.api, cluster.namespace
    found = await find_subject(api, namespace, name, services=True)
    if found.plural == "services":
        return found, {}
    services = await find_front_services(api, namespace, found.pod_labels)
    return _choose_service(found, services), found.pod_spec


def _choose_service(workload: Subject, services: list[Json]) -> Subject:
    if not services:
        raise NotFound(f"no Service sends requests to {workload.title}")
    if len(services) > 1:
        names = ", ".join(f"service/{each['metadata']['name']}" for each in services)
        raise UsageError(
            f"several Services send requests to {workload.title}", hint=f"which one: {names}?"
        )
    return Subject("services", services[0])


async def read_pod_spec(cluster: Cluster, labels: dict[str, str]) -> Json:
    """Of one of the Service's pods, for its ports' names; empty where it has none now."""
    listing = await cluster.api.list_all(
        "pods", namespace=cluster.namespace, labels=labels, at_most=1
    )
    return dict(listing["items"][0].get("spec") or {}) if listing["items"] else {}


def _list_unexposed(
    services: Iterable[Json], pod_spec: Json, ports: Iterable[ExposedPort]
) -> list[int]:
    """Ports of the pods that Services send requests to, and the user doesn't expose."""
    exposed = {port.remote for port in ports}
    return sorted(set(list_target_ports(services, pod_spec)) - exposed)


async def plan_restoring(
    cluster: Cluster, subject: Subject, mode: Mode, service_account: str, report: Report
) -> Restoring | None:
    """That the shadow puts back by itself what is taken; None where it can't, which is said."""
    api, namespace = cluster.api, cluster.namespace
    secrets = await read_pull_secrets(api, namespace)
    names = tuple(str(each.get("name")) for each in secrets if isinstance(each, dict))
    restoring = Restoring(subject.plural, subject.name, mode, names)
    if service_account:
        why = "the shadow has --service-account, which is given no rights"
    elif await list_missing(api, namespace, list_for_restoring()) or not await may_make_account(
        api, namespace, build_restoring_account(_REHEARSED, namespace, {}, restoring)
    ):
        why = "no right to give the shadow a Role"
    else:
        return restoring
    report.note(f"{why}: {describe_abandoned(subject, mode, namespace)}")
    return None


def describe_abandoned(subject: Subject, mode: Mode, namespace: str) -> str:
    """What becomes of it when this machine crashes and the shadow may not put it back."""
    recover = f"`ktnet recover {subject.title} -n {namespace}`"
    if mode == "scale":
        return f"should this machine crash, nobody serves {subject.title} until {recover}"
    return f"should this machine crash, {subject.title} leads through the shadow until {recover}"
