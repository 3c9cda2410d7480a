"""What is written on a Service that is meshed, in the same patch that leads it to the router: pure.

One annotation holds the selector that the Service had, the router that stands in front of it, and
the members: who gets which requests. Everything that is done to a mesh is a patch that begins with
a `test` of the text it goes out from, so of two that meet one is told (422), and looks again. The
router's name is new each time: who isn't in the list has no hold on the router, and who is in the
list keeps it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from ktnet.wire.annotation import (
    build_lead,
    build_pointer,
    build_put_back,
    build_store,
    build_test,
    parse_annotation,
    parse_selector,
    require,
)

Json = dict[str, Any]

ANNOTATION = "ktnet.dev/mesh"
_POINTER = build_pointer(ANNOTATION)

SESSION_LABEL = "ktnet.dev/session"
"""The router's pods have its name in this label, and nothing else selects them."""


@dataclass(frozen=True, slots=True)
class Member:
    """A laptop that gets the requests with its mark."""

    session: str
    """Name of its Lease, by which it is known whether somebody is there."""
    holder: str
    """user@host, for people."""
    since: str
    """RFC 3339, by the API server's clock."""
    key: str
    value: str

    @property
    def mark(self) -> str:
        """As the header field says it."""
        return f"{self.key}: {self.value}"


@dataclass(frozen=True, slots=True)
class MeshRecord:
    """How a Service was, what stands in front of it, and for whom."""

    router: str
    """Name of its Deployment."""
    selector: tuple[tuple[str, str], ...]
    """What the Service had, sorted."""
    members: tuple[Member, ...] = ()

    def find(self, session: str) -> Member | None:
        """The member of that name."""
        return next((each for each in self.members if each.session == session), None)

    def find_mark(self, key: str, value: str) -> Member | None:
        """Who has the mark."""
        return next((each for each in self.members if (each.key, each.value) == (key, value)), None)

    def with_member(self, member: Member) -> MeshRecord:
        """With one more, in whose place there may have been another one with its mark."""
        others = [
            each for each in self.members if (each.key, each.value) != (member.key, member.value)
        ]
        return replace(self, members=(*others, member))

    def without(self, session: str) -> MeshRecord:
        """Without that one."""
        return replace(
            self, members=tuple(each for each in self.members if each.session != session)
        )


def build_record_text(record: MeshRecord) -> str:
    """The annotation's value."""
    obj: Json = {
        "version": 1,
        "router": record.router,
        "selector": dict(record.selector),
        "members": [
            {
                "session": each.session,
                "holder": each.holder,
                "since": each.since,
                "key": each.key,
                "value": each.value,
            }
            for each in record.members
        ],
    }
    return json.dumps(obj, separators=(",", ":"))


def parse_record(service: Json) -> tuple[str, MeshRecord] | None:
    """The annotation of a Service, as it stands there and as a record; None where it has none.

    Raises ValueError where there is one that we don't understand.
    """
    return parse_annotation(service, ANNOTATION, _parse)


def _parse(stored: Json) -> MeshRecord:
    require(stored["version"] == 1, f"version {stored['version']!r}")
    selector = parse_selector(stored)
    members = tuple(Member(**each) for each in stored["members"])
    for each in members:
        words = (each.session, each.holder, each.since, each.key, each.value)
        require(all(isinstance(word, str) for word in words), "members")
    require(isinstance(stored["router"], str) and bool(stored["router"]), "router")
    return MeshRecord(stored["router"], selector, members)


def build_selector(router: str) -> dict[str, str]:
    """What the Service's selector is meanwhile."""
    return {SESSION_LABEL: router}


def build_first_join(service: Json, record: MeshRecord) -> list[Json]:
    """Store, and lead the Service to the router, if it is still as it was read."""
    return [
        *build_store(service, ANNOTATION, build_record_text(record)),
        build_lead(build_selector(record.router)),
    ]


def build_change(text: str, record: MeshRecord) -> list[Json]:
    """Other members; and the Service leads to the router, whatever somebody has made of that."""
    return [
        build_test(ANNOTATION, text),
        {"op": "replace", "path": _POINTER, "value": build_record_text(record)},
        build_lead(build_selector(record.router)),
    ]


def build_undo(text: str, record: MeshRecord) -> list[Json]:
    """Put the Service back, if nobody has done so yet and nobody has joined: else 422."""
    return build_put_back(ANNOTATION, text, build_lead(dict(record.selector)))
