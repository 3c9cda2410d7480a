"""What a mark adds to Istio's objects: pure.

A plan goes out from what is there, so planning again after half of it was done, or undone by
somebody, gives what is missing.
https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.istio.hosts import Targets, find_closest, is_in_mesh
from ktnet.cluster.istio.record import (
    PREFIX,
    Entry,
    IstioRecord,
    parse_record,
)
from ktnet.cluster.istio.routes import (
    build_twin,
    describe,
    find_destination,
    is_a_marks,
    is_named,
    list_routes,
    plan_routes,
)
from ktnet.cluster.istio.step import (
    KIND,
    LIST,
    OTHERS,
    Plural,
    Step,
    take_items,
    with_list,
    with_record,
)
from ktnet.cluster.labels import MANAGED
from ktnet.errors import Conflict

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """The version that is to be routed to."""

    entry: Entry
    targets: Targets
    owners: Mapping[str, str]
    """uid by the name of each Service."""
    pod_labels: Mapping[str, str]
    """Of the workload's pods."""
    labels: Mapping[str, str]
    """Of the shadow's: the same, and the mark."""


def plan_addition(
    rules: Iterable[Json], virtual_services: Iterable[Json], version: Version
) -> list[Step]:
    """The steps that lead marked requests to the version, subsets first. Raises Conflict, with the
    reason, where that can't be done without changing where others' requests go."""
    rules, virtual_services = list(rules), list(virtual_services)
    subset_steps = []
    virtual_steps = [*_plan_existing(virtual_services, version)]
    for service in version.targets.services:
        rule = find_rule(rules, version.targets, service)
        others: Json | None = None
        default = ""
        if not list_fronts(virtual_services, version.targets, service):
            default, others = _choose_default(rule, version)
            virtual_steps.append(_make_virtual_service(service, version, default))
        subset_steps.append(_plan_subset(rules, rule, service, version, others))
    return [step for step in (*subset_steps, *virtual_steps) if step.before != step.after]


def find_open_routes(
    rules: Iterable[Json], virtual_services: Iterable[Json], version: Version
) -> Iterator[str]:
    """In words, the routes by which unmarked requests come to the version too: at random."""
    rules = list(rules)
    for each in virtual_services:
        for number, route in enumerate(list_routes(each), 1):
            found = None if is_a_marks(route) else find_destination(route, version.targets)
            if found is None:
                continue
            subset = found[1]["destination"].get("subset")
            labels = _find_labels(rules, version.targets, found[0], subset)
            if all(version.labels.get(key) == value for key, value in labels.items()):
                name = route.get("name") or f"number {number}"
                yield f"{describe(each)}, route {name}"


# -- VirtualServices -------------------------------------------------------------------------------


def list_fronts(virtual_services: Iterable[Json], targets: Targets, service: str) -> list[Json]:
    """Those that say where calls between pods to the Service go."""
    return [
        each
        for each in virtual_services
        if is_in_mesh(each) and any(targets.is_covered(service, host) for host in _hosts(each))
    ]


def _hosts(virtual_service: Json) -> list[Any]:
    hosts = virtual_service["spec"].get("hosts")
    return hosts if isinstance(hosts, list) else []


def _plan_existing(virtual_services: list[Json], version: Version) -> Iterator[Step]:
    targets, entry = version.targets, version.entry
    for each in virtual_services:
        fronts = [name for name in targets.services if list_fronts([each], targets, name)]
        led_to = {
            found[0]
            for route in list_routes(each)
            if (found := find_destination(route, targets)) is not None
        }
        for service in fronts:
            _check_front(each, service, is_led_to=service in led_to)
        if not led_to:
            continue
        if not _hosts(each):
            raise Conflict(
                f"{describe(each)} is one that others delegate to, which is left alone",
                hint="--mode auto needs no rules",
            )
        after = with_list(each, "http", plan_routes(each, targets, entry))
        yield Step("virtualservices", each, with_record(after, _add_entry(each, entry, "http")))


def _check_front(virtual_service: Json, service: str, *, is_led_to: bool) -> None:
    """Raises Conflict where a header can't decide, or decides in vain."""
    title, routes = describe(virtual_service), list_routes(virtual_service)
    spec = virtual_service["spec"]
    others = [key for key in ("tcp", "tls") if spec.get(key)]
    if not routes and others:
        raise Conflict(
            f"{title} routes {service} as {' and '.join(others)}, where there are no headers",
            hint="--mode manual brings the version up without rules",
        )
    if any(route.get("delegate") for route in routes):
        raise Conflict(
            f"{title} delegates routes of {service} to other VirtualServices, which is left alone",
            hint="--mode auto needs no rules",
        )
    if not is_led_to:
        raise Conflict(
            f"{title} sends the requests for {service} elsewhere",
            hint="name the workload that they go to",
        )


def _make_virtual_service(service: str, version: Version, subset: str) -> Step:
    way: Json = {"destination": {"host": service}}
    default = {"name": OTHERS, "route": [way]}
    if subset:
        way["destination"]["subset"] = subset
    base: Json = {"hosts": [service], "http": [default]}
    twin = build_twin(
        version.entry.name,
        default,
        [{"headers": {version.entry.key: {"exact": version.entry.value}}}],
        way,
        version.entry.name,
    )
    return _make("virtualservices", service, version, base, [twin, default])


# -- DestinationRules ------------------------------------------------------------------------------


def find_rule(rules: Iterable[Json], targets: Targets, service: str) -> Json | None:
    """The one whose subsets the Service has for everybody; of several the oldest, to which Istio
    adds what the others say."""
    own = [
        each
        for each in rules
        if targets.find(each["spec"].get("host")) == service
        and not each["spec"].get("workloadSelector")
    ]
    return min(own, key=_age, default=None)


def _age(obj: Json) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("creationTimestamp") or ""), str(metadata["name"])


def _subsets(rule: Json | None) -> list[Json]:
    return take_items((rule or {"spec": {}})["spec"].get("subsets"))


def _find_labels(
    rules: list[Json], targets: Targets, service: str, subset: str | None
) -> Mapping[str, Any]:
    """By which the pods of a Service's subset are known; none: all of the Service's."""
    for rule in rules:
        if subset and targets.find(rule["spec"].get("host")) == service:
            for each in _subsets(rule):
                if each.get("name") == subset and isinstance(each.get("labels"), dict):
                    return dict(each["labels"])
    return {}


def _choose_default(rule: Json | None, version: Version) -> tuple[str, Json | None]:
    """The subset for unmarked requests that leaves the marked pods out, and the labels of one that
    has to be made for that; empty where no label tells them apart."""
    for each in _subsets(rule):
        labels = each.get("labels")
        if is_a_marks(each) or not isinstance(labels, dict) or not labels:
            continue
        takes = [
            all(found.get(key) == value for key, value in labels.items())
            for found in (version.pod_labels, version.labels)
        ]
        if takes == [True, False]:
            return str(each.get("name")), None
    key = version.entry.key
    stable = version.pod_labels.get(key)
    if stable is None or stable == version.entry.value:
        return "", None
    return OTHERS, {key: stable}


def _plan_subset(
    rules: list[Json], rule: Json | None, service: str, version: Version, others: Json | None
) -> Step:
    entry = version.entry
    own: list[Json] = [{"name": entry.name, "labels": {entry.key: entry.value}}]
    if others is not None and not any(is_named(each, OTHERS) for each in _subsets(rule)):
        own.append({"name": OTHERS, "labels": others})
    if rule is None:
        base: Json = {"host": service}
        wide = {
            each["spec"]["host"]: each
            for each in rules
            if version.targets.is_covered(service, each["spec"].get("host"))
            and not each["spec"].get("workloadSelector")
        }
        closest = find_closest(wide)
        if closest is not None and "trafficPolicy" in wide[closest]["spec"]:
            # Istio goes by the closest rule alone: what the wider one said would be lost.
            base["trafficPolicy"] = wide[closest]["spec"]["trafficPolicy"]
        return _make("destinationrules", service, version, base, own)
    subsets = rule["spec"].get("subsets") or []
    if not isinstance(subsets, list):
        raise Conflict(f"the subsets of {_title(rule)} are not understood")
    added = [each for each in own if each not in subsets]
    kept = [
        each
        for each in subsets
        if each in own or not any(is_named(each, new["name"]) for new in own)
    ]
    after = with_list(rule, "subsets", [*kept, *added])
    return Step("destinationrules", rule, with_record(after, _add_entry(rule, entry, "subsets")))


# -- both ------------------------------------------------------------------------------------------


def _title(obj: Json) -> str:
    return f"{str(obj.get('kind', 'object')).lower()}/{obj['metadata']['name']}"


def _make(plural: Plural, service: str, version: Version, base: Json, items: list[Json]) -> Step:
    obj = {
        "kind": KIND[plural],
        "metadata": {
            "name": PREFIX + service,
            "labels": dict(MANAGED),
            # It is about the Service, and nothing without it.
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": service,
                    "uid": version.owners[service],
                }
            ],
        },
        "spec": {**base, LIST[plural]: items},
    }
    return Step(plural, None, with_record(obj, IstioRecord((version.entry,), base)))


def _add_entry(obj: Json, entry: Entry, key: str) -> IstioRecord:
    """Raises Conflict where the mark is somebody else's."""
    try:
        record = parse_record(obj)
    except ValueError as error:
        raise Conflict(f"{_title(obj)}: {error}", hint="who has written it?") from error
    if record is None:
        record = IstioRecord(had_list=key in obj["spec"])
    other = record.find_name(entry.name)
    if other is not None and other.session != entry.session:
        raise Conflict(
            f"the mark {other.mark} of {_title(obj)} is {other.holder}'s since {other.since}",
            hint="choose another --version-mark; `ktnet clean` removes those of sessions that died",
        )
    if other is None and any(
        is_named(each, entry.name) for each in take_items(obj["spec"].get(key))
    ):
        raise Conflict(
            f"{_title(obj)} has a {entry.name} that nobody answers for",
            hint="choose another --version-mark; `ktnet clean --all-users` removes it",
        )
    if record.find(entry.session) == entry:
        return record
    return record.with_entry(entry)
