"""What takes a mark out of Istio's objects again, whatever has become of them: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ktnet.cluster.istio.record import parse_record
from ktnet.cluster.istio.routes import is_named
from ktnet.cluster.istio.step import LIST, OTHERS, Plural, Step, take_items, with_list, with_record

Json = dict[str, Any]


def plan_removal(
    plural: Plural, objects: Iterable[Json], session: str, name: str, *, in_use: bool = False
) -> list[Step]:
    """The steps that take a session's entries (called `name`) out of these objects.

    Those that were made for marks, and are as they were made, are deleted. `in_use`: routes lead to
    `OTHERS`.
    """
    return [
        step
        for obj in objects
        if (step := _plan_removal(plural, obj, session, name, in_use=in_use)) is not None
    ]


def _plan_removal(
    plural: Plural, obj: Json, session: str, name: str, *, in_use: bool
) -> Step | None:
    key = LIST[plural]
    try:
        record = parse_record(obj)
    except ValueError:
        # Its entries go all the same; what it says stays for people to decide.
        record = None
    owner = record.find_name(name) if record is not None else None
    if owner is not None and owner.session != session:
        return None  # the same mark, of another workload's version
    items = obj["spec"].get(key) or []
    rest = [each for each in items if not is_named(each, name)] if isinstance(items, list) else []
    had_any = isinstance(items, list) and len(rest) < len(items)
    if not had_any and (record is None or record.find(session) is None):
        return None
    if record is None:
        return Step(plural, obj, with_list(obj, key, rest))
    record = record.without(session)
    if not record.entries and not in_use and plural == "destinationrules":
        rest = [each for each in rest if not is_named(each, OTHERS)]
    spec = {**obj["spec"], key: rest}
    if not rest and (record.made is not None or not record.had_list):
        del spec[key]
    after = {**obj, "spec": spec}
    if record.entries:
        return Step(plural, obj, with_record(after, record))
    is_empty = plural == "virtualservices" and not rest
    if record.made is not None and (spec == record.made or is_empty):
        return Step(plural, obj, None)
    return Step(plural, obj, with_record(after, None))


def is_default_in_use(virtual_services: Iterable[Json]) -> bool:
    """Whether any route leads to the subset `OTHERS`."""
    return any(
        way.get("destination", {}).get("subset") == OTHERS
        for each in virtual_services
        for route in take_items(each["spec"].get("http"))
        for way in take_items(route.get("route"))
        if isinstance(way.get("destination", {}), dict)
    )
