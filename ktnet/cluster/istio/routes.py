"""One mark's routes in a list of a VirtualService's: before each that leads to the Service, its
twin for marked requests. Pure.

A twin has all that its original has (path, rewrite, timeout, retries), but for the header in every
match, the subset that it leads to, and mirrors. So a marked request goes to the mark exactly where
it would have gone to the Service, and nothing else changes for anybody.
https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ktnet.cluster.istio.hosts import Targets
from ktnet.cluster.istio.record import PREFIX, Entry
from ktnet.errors import Conflict

Json = dict[str, Any]

_NOT_COPIED = {"name", "match", "route", "mirror", "mirrors", "mirrorPercent", "mirrorPercentage"}


def list_routes(virtual_service: Json) -> list[Json]:
    """Its routes for HTTP, gRPC among it. Raises Conflict for what is no list of routes."""
    routes = virtual_service["spec"].get("http") or []
    if not isinstance(routes, list) or not all(isinstance(each, dict) for each in routes):
        raise _not_understood(virtual_service)
    return routes


def is_named(item: Any, name: str) -> bool:
    """Whether a route or subset is that mark's: `ktnet-alice`, `ktnet-alice/2`."""
    own = item.get("name") if isinstance(item, dict) else None
    return isinstance(own, str) and (own == name or own.startswith(f"{name}/"))


def is_a_marks(item: Any) -> bool:
    """Whether it belongs to anybody's mark."""
    own = item.get("name") if isinstance(item, dict) else None
    return isinstance(own, str) and own.startswith(PREFIX)


def find_destination(route: Json, targets: Targets) -> tuple[str, Json] | None:
    """The first destination that is one of the Services, and which; None: it leads elsewhere."""
    destinations = route.get("route") or []
    for each in destinations if isinstance(destinations, list) else []:
        destination = each.get("destination") if isinstance(each, dict) else None
        if isinstance(destination, dict):
            service = targets.find(destination.get("host"))
            if service is not None:
                return service, each
    return None


def plan_routes(virtual_service: Json, targets: Targets, entry: Entry) -> list[Json]:
    """Its routes with the mark's among them, wherever any were before. Raises Conflict."""
    planned: list[Json] = []
    number = 0
    for route in list_routes(virtual_service):
        if is_named(route, entry.name):
            continue
        found = None if is_a_marks(route) else find_destination(route, targets)
        if found is not None:
            matches = list(_narrow(virtual_service, route, entry))
            if matches:
                number += 1
                name = entry.name if number == 1 else f"{entry.name}/{number}"
                planned.append(build_twin(name, route, matches, found[1], entry.name))
        planned.append(route)
    return planned


def build_twin(name: str, route: Json, matches: list[Json], destination: Json, subset: str) -> Json:
    """The route for the mark beside `route`, which `destination` was the way of."""
    kept = {key: value for key, value in route.items() if key not in _NOT_COPIED}
    way = {key: value for key, value in destination.items() if key != "weight"}
    way["destination"] = {**destination["destination"], "subset": subset}
    return {"name": name, "match": matches, "route": [way], **kept}


def _narrow(virtual_service: Json, route: Json, entry: Entry) -> Iterator[Json]:
    """Each of its matches, and the header; none for those that a marked request never meets."""
    matches = route.get("match") or [{}]
    if not isinstance(matches, list):
        raise _not_understood(virtual_service)
    for match in matches:
        headers = (match.get("headers") or {}) if isinstance(match, dict) else None
        without = (match.get("withoutHeaders") or {}) if isinstance(match, dict) else None
        if not isinstance(headers, dict) or not isinstance(without, dict):
            raise _not_understood(virtual_service)
        own = [each for name, each in headers.items() if str(name).lower() == entry.key]
        not_own = [each for name, each in without.items() if str(name).lower() == entry.key]
        if not all(_accepts(virtual_service, each, entry) for each in own):
            continue
        if any(_accepts(virtual_service, each, entry) for each in not_own):
            continue
        others = {name: each for name, each in headers.items() if str(name).lower() != entry.key}
        yield {**match, "headers": {**others, entry.key: {"exact": entry.value}}}


def _accepts(virtual_service: Json, condition: Any, entry: Entry) -> bool:
    """Whether a StringMatch takes the mark's value."""
    if not condition:
        return True  # that there is such a header
    if isinstance(condition, dict) and set(condition) <= {"exact", "prefix"}:
        return condition.get("exact", entry.value) == entry.value and entry.value.startswith(
            str(condition.get("prefix", ""))
        )
    title = describe(virtual_service)
    raise Conflict(
        f"{title} routes by a pattern of the very header {entry.key}",
        hint="mark by another header: --version-mark KEY:VALUE",
    )


def describe(virtual_service: Json) -> str:
    """For people: "virtualservice/tomcat"."""
    return f"virtualservice/{virtual_service['metadata']['name']}"


def _not_understood(virtual_service: Json) -> Conflict:
    return Conflict(f"the routes of {describe(virtual_service)} are not understood")
