"""What is written on Istio's objects that a session adds to, in the patch that adds it: pure.

One annotation says whose entries are there and, of an object that was made for them, what it was
made as. The entries themselves are known by their names alone, so they can be removed whatever has
become of the annotation.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

Json = dict[str, Any]

ANNOTATION = "ktnet.dev/istio"
PREFIX = "ktnet-"
"""Of the names of routes and subsets that belong to a mark."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One session's version, as the rules know it."""

    session: str
    """Name of its Lease, by which it is known whether somebody is there."""
    holder: str
    """user@host, for people."""
    since: str
    """RFC 3339, by the API server's clock."""
    services: tuple[str, ...]
    key: str
    value: str

    @property
    def name(self) -> str:
        """Of its subset and its routes: a DNS label, as Istio wants subsets to have."""
        return PREFIX + re.sub(r"[^a-z0-9-]", "-", self.value.lower())

    @property
    def mark(self) -> str:
        """As the header field says it."""
        return f"{self.key}: {self.value}"


@dataclass(frozen=True, slots=True)
class IstioRecord:
    """Whose entries an object has."""

    entries: tuple[Entry, ...] = ()
    made: Json | None = None
    """The spec without anybody's entries, where the object was made for them; None: a user's."""
    had_list: bool = True
    """Whether a user's object had the list (of routes, of subsets) before."""

    def find(self, session: str) -> Entry | None:
        """The entry of that session."""
        return next((each for each in self.entries if each.session == session), None)

    def find_name(self, name: str) -> Entry | None:
        """Whose routes and subsets are called so."""
        return next((each for each in self.entries if each.name == name), None)

    def with_entry(self, entry: Entry) -> IstioRecord:
        """With that one, in place of what its session had."""
        return replace(self, entries=(*self.without(entry.session).entries, entry))

    def without(self, session: str) -> IstioRecord:
        """Without that session's."""
        return replace(
            self, entries=tuple(each for each in self.entries if each.session != session)
        )


def build_record_text(record: IstioRecord) -> str:
    """The annotation's value."""
    obj: Json = {"version": 1, "entries": [asdict(each) for each in record.entries]}
    if record.made is not None:
        obj["made"] = record.made
    if not record.had_list:
        obj["hadList"] = False
    return json.dumps(obj, separators=(",", ":"))


def parse_record(obj: Json) -> IstioRecord | None:
    """The annotation of an object; None where it has none.

    Raises ValueError where there is one that we don't understand: somebody else's ktnet is newer,
    or somebody has edited it.
    """
    text = (obj.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return None
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the annotation {ANNOTATION} is not understood: {error}") from error


def _parse(stored: Json) -> IstioRecord:
    _require(stored["version"] == 1, f"version {stored['version']!r}")
    entries = tuple(
        Entry(**{**each, "services": tuple(each["services"])}) for each in stored["entries"]
    )
    for each in entries:
        words = (*each.services, each.session, each.holder, each.since, each.key, each.value)
        _require(all(isinstance(word, str) for word in words), "entries")
    made = stored.get("made")
    _require(made is None or isinstance(made, dict), "made")
    return IstioRecord(entries, made, had_list=stored.get("hadList") is not False)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
