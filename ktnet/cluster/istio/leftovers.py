"""Finds and removes what sessions that died have left in Istio's objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.holding import read_holding
from ktnet.cluster.istio.record import PREFIX, Entry, parse_record
from ktnet.cluster.istio.rules import Rules
from ktnet.cluster.istio.step import Plural
from ktnet.cluster.labels import MANAGED
from ktnet.cluster.server.api import Api
from ktnet.errors import Conflict

Json = dict[str, Any]

_LISTS: tuple[tuple[Plural, str], ...] = (
    ("virtualservices", "http"),
    ("destinationrules", "subsets"),
)


@dataclass(frozen=True, slots=True)
class Marked:
    """One session's entries."""

    entry: Entry
    objects: tuple[str, ...]
    """For people: "virtualservice/tomcat"."""

    @property
    def title(self) -> str:
        """For people."""
        return " and ".join(self.objects)

    def is_named(self, name: str) -> bool:
        """Whether that is how a user calls it: an object of these, or a Service or its name."""
        services = self.entry.services
        return name in {
            *self.objects,
            *services,
            *(f"service/{each}" for each in services),
            *(f"svc/{each}" for each in services),
        }


async def list_marked(rules: Rules) -> list[Marked]:
    """All there are, by session. One whose annotation is gone has an entry without a session."""
    return find_marked([(*each, await rules.fetch(each[0])) for each in _LISTS])


def find_marked(listed: Iterable[tuple[Plural, str, Iterable[Json]]]) -> list[Marked]:
    """The same, of (plural, key of the list in the spec, objects): pure."""
    found: dict[tuple[str, str], tuple[Entry, list[str]]] = {}
    for plural, key, objects in listed:
        for obj in objects:
            title = f"{plural.removesuffix('s')}/{obj['metadata']['name']}"
            for entry in _list_entries(obj, key):
                _, titles = found.setdefault((entry.session, entry.name), (entry, []))
                titles.append(title)
    return [Marked(entry, tuple(titles)) for entry, titles in found.values()]


def _list_entries(obj: Json, key: str) -> list[Entry]:
    try:
        record = parse_record(obj)
    except ValueError:
        record = None
    entries = list(record.entries) if record is not None else []
    known = {each.name for each in entries}
    items = obj["spec"].get(key)
    for item in items if isinstance(items, list) else []:
        own = item.get("name") if isinstance(item, dict) else None
        match = (
            re.fullmatch(rf"{PREFIX}([a-z0-9-]+)(?:/\d+)?", own) if isinstance(own, str) else None
        )
        if match and PREFIX + match[1] not in known:
            known.add(PREFIX + match[1])
            entries.append(Entry("", "", "", (), "", match[1]))
    return entries


async def list_dead(
    api: Api, namespace: str, rules: Rules, *, me: str, all_users: bool
) -> list[Marked]:
    """Those that `me` (user@host) may remove. What nobody answers for is everybody's."""
    dead = []
    live: list[str] | None = None
    for each in await list_marked(rules):
        is_mine = each.entry.holder == me
        if not (is_mine or all_users):
            continue
        if not each.entry.session:
            live = live if live is not None else await _list_live(api, namespace)
            if not any(name.endswith(f"-kt-{each.entry.value}") for name in live):
                dead.append(each)
            continue
        holding = await read_holding(api, namespace, each.entry.session)
        if not holding.is_live if is_mine else holding.is_abandoned:
            dead.append(each)
    return dead


async def _list_live(api: Api, namespace: str) -> list[str]:
    """Sessions that somebody may be in, as their names stand in those of routes."""
    leases = await api.list_all("leases", namespace=namespace, labels=MANAGED)
    return [each["metadata"]["name"].replace(".", "-") for each in leases["items"]]


async def remove_marked(rules: Rules, marked: Marked, tell: Callable[[str], None]) -> None:
    """Take them out."""
    entry = marked.entry
    if await rules.remove(entry.session, entry.name):
        whose = f" of {entry.holder}" if entry.holder else ""
        tell(f"{marked.title} is without {entry.name}{whose}")


async def recover_marked(
    api: Api,
    namespace: str,
    rules: Rules,
    wanted: Iterable[Marked],
    *,
    force: bool,
    tell: Callable[[str], None],
) -> None:
    """Take these out, whatever is left of their sessions. Raises Conflict where one is there."""
    wanted = list(wanted)
    for each in wanted:
        entry = each.entry
        if force or not entry.session:
            continue
        if (await read_holding(api, namespace, entry.session)).is_live:
            raise Conflict(
                f"{each.title} has the mark {entry.mark} of {entry.holder}, who is there since "
                f"{entry.since}",
                hint="`ktnet disconnect` where it is yours; --force takes it from anybody",
            )
    for each in wanted:
        await remove_marked(rules, each, tell)
