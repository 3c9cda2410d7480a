"""Which Services there are, and who stands in front of them: pure.

Whoever's shadow a Service selects gets its requests (exchange, run, a mesh by hand); a Service with
a router leads to the router's members; and what was taken by somebody whose shadow is gone leads
nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ktnet.cluster.cleaning import Taken
from ktnet.cluster.exchange.workload import is_selected
from ktnet.cluster.sessions import SessionView
from ktnet.wire.meshrecord import SESSION_LABEL, parse_record

log = logging.getLogger(__name__)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Front:
    """A session that gets requests which are for a Service."""

    session: str
    holder: str
    """user@host; empty where nothing says it."""
    command: str
    alive: bool
    mark: str = ""
    """Only requests with this header field; empty where it is all of them."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A Service."""

    namespace: str
    name: str
    kind: str
    """ClusterIP, NodePort, LoadBalancer or ExternalName."""
    addresses: tuple[str, ...]
    ports: tuple[str, ...]
    """"80/TCP"."""
    fronts: tuple[Front, ...] = field(default=())


def build_service_views(
    services: Iterable[Json],
    pods: Iterable[Json],
    sessions: Iterable[SessionView],
    taken: Iterable[Taken],
) -> list[ServiceView]:
    """Sorted by namespace and name; `pods` are those that ktnet manages."""
    known = {(each.namespace, each.name): each for each in sessions}
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    held = list(taken)
    views = [_build_view(each, running, known, held) for each in services]
    return sorted(views, key=lambda view: (view.namespace, view.name))


def _build_view(
    service: Json,
    pods: list[Json],
    known: dict[tuple[str, str], SessionView],
    taken: list[Taken],
) -> ServiceView:
    metadata, spec = service["metadata"], service.get("spec") or {}
    namespace = str(metadata.get("namespace", ""))
    fronts: dict[str, Front] = {}
    for front in (
        *_list_members(service, known),
        *_list_selected(service, pods, known),
        *_list_takers(service, taken, known),
    ):
        fronts.setdefault(front.session, front)
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return ServiceView(
        namespace,
        str(metadata["name"]),
        str(spec.get("type") or "ClusterIP"),
        tuple(str(each) for each in addresses if each and each != "None"),
        tuple(
            f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or []
        ),
        tuple(fronts.values()),
    )


def _list_members(service: Json, known: dict[tuple[str, str], SessionView]) -> Iterator[Front]:
    try:
        found = parse_record(service)
    except ValueError as error:
        log.info("service %s: %s", service["metadata"]["name"], error)
        return
    for member in found[1].members if found is not None else ():
        view = known.get((str(service["metadata"].get("namespace", "")), member.session))
        alive = view is not None and view.alive
        yield Front(member.session, member.holder, "mesh", alive, member.mark)


def _list_selected(
    service: Json, pods: list[Json], known: dict[tuple[str, str], SessionView]
) -> Iterator[Front]:
    namespace = service["metadata"].get("namespace", "")
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        if pod["metadata"].get("namespace", "") == namespace and is_selected(service, labels):
            view = known.get((namespace, labels.get(SESSION_LABEL, "")))
            if view is not None:
                yield Front(view.name, view.holder, view.command, view.alive)


def _list_takers(
    service: Json, taken: list[Taken], known: dict[tuple[str, str], SessionView]
) -> Iterator[Front]:
    metadata = service["metadata"]
    namespace = metadata.get("namespace", "")
    for each in taken:
        subject = each.subject
        is_same = subject.plural == "services" and subject.name == metadata["name"]
        if subject.obj["metadata"].get("namespace", "") == namespace and (
            is_same or (subject.plural != "services" and is_selected(service, subject.pod_labels))
        ):
            view = known.get((namespace, each.record.session))
            alive = view is not None and view.alive
            yield Front(each.record.session, each.record.holder, "exchange", alive)
