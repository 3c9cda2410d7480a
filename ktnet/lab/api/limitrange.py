"""LimitRanges: what a container gets that says nothing, and what none may have. Pure.

kubernetes.io/docs/concepts/policy/limit-range/; the rules and the words are those of
plugin/pkg/admission/limitranger/admission.go. Bounds on PersistentVolumeClaims are kept and do
nothing: the lab has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ktnet.lab.api.errors import Obj, forbidden
from ktnet.lab.api.quantity import parse_quantity
from ktnet.lab.api.quota import measure_compute

ANNOTATION = "kubernetes.io/limit-ranger"


def default_resources(ranges: Iterable[Obj], pod: Obj) -> None:
    """Sets what the pod's containers leave open, and notes so in an annotation."""
    notes: list[str] = []
    for limit_range in ranges:
        for item in _list_items(limit_range, "Container"):
            for which, word in (("containers", "container"), ("initContainers", "init container")):
                for container in pod["spec"].get(which) or []:
                    notes += _default_container(container, item, word)
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def _default_container(container: Obj, item: Obj, word: str) -> list[str]:
    resources = container.setdefault("resources", {})
    notes = []
    for part, source, said in (
        ("requests", "defaultRequest", "request"),
        ("limits", "default", "limit"),
    ):
        known = resources.get(part) or {}
        missing = {k: v for k, v in (item.get(source) or {}).items() if k not in known}
        if missing:
            resources[part] = {**known, **missing}
            notes.append(f"{', '.join(sorted(missing))} {said} for {word} {container['name']}")
    return notes


def check_limits(ranges: Iterable[Obj], pod: Obj) -> None:
    """Raises ApiError 403 for a pod outside what the ranges allow."""
    causes = [each for limit_range in ranges for each in _find_offences(limit_range, pod)]
    if causes:
        why = causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]"
        raise forbidden("", "pods", pod["metadata"].get("name", ""), why)


def _find_offences(limit_range: Obj, pod: Obj) -> Iterator[str]:
    for item in _list_items(limit_range, "Container"):
        for which in ("containers", "initContainers"):
            for container in pod["spec"].get(which) or []:
                resources = container.get("resources") or {}
                for requests, limits in [
                    (resources.get("requests") or {}, resources.get("limits") or {})
                ]:
                    yield from _compare(item, "Container", requests, limits)
    for item in _list_items(limit_range, "Pod"):
        amounts = {k: v for k, v in measure_compute(pod).items() if parse_quantity(v)}
        requests = {k.removeprefix("requests."): v for k, v in amounts.items() if "requests." in k}
        limits = {k.removeprefix("limits."): v for k, v in amounts.items() if "limits." in k}
        yield from _compare(item, "Pod", requests, limits)


def _compare(item: Obj, kind: str, requests: Obj, limits: Obj) -> Iterator[str]:
    for name, bound in (item.get("min") or {}).items():
        said = f"minimum {name} usage per {kind} is {bound}"
        request, limit = requests.get(name), limits.get(name)
        if request is None:
            yield f"{said}.  No request is specified"
        elif parse_quantity(request) < parse_quantity(bound):
            yield f"{said}, but request is {request}"
        elif limit is not None and parse_quantity(limit) < parse_quantity(bound):
            yield f"{said}, but limit is {limit}"
    for name, bound in (item.get("max") or {}).items():
        said = f"maximum {name} usage per {kind} is {bound}"
        request, limit = requests.get(name), limits.get(name)
        if limit is None:
            yield f"{said}.  No limit is specified"
        elif parse_quantity(limit) > parse_quantity(bound):
            yield f"{said}, but limit is {limit}"
        elif request is not None and parse_quantity(request) > parse_quantity(bound):
            yield f"{said}, but request is {request}"


def _list_items(limit_range: Obj, kind: str) -> list[Obj]:
    items = limit_range["spec"].get("limits") or []
    return [each for each in items if each.get("type") == kind]
