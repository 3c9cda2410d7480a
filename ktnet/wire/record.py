"""What is written on an object that we change, before it is changed: pure.

One annotation holds all that the undoing needs, on the very object, so anybody who may patch it can
put it back: `recover` on another machine, a later command, the shadow itself. Storing and changing
are one patch, guarded by resourceVersion; the undoing is one JSON patch (RFC 6902) that begins with
a `test` of the annotation, so that two can't undo twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ktnet.wire.annotation import (
    build_lead,
    build_put_back,
    build_store,
    build_test,
    parse_annotation,
    parse_selector,
    require,
)

Json = dict[str, Any]
Mode = Literal["scale", "selector"]

ANNOTATION = "ktnet.dev/exchange"

MOST_REPLICAS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Record:
    """How an object was, and who has changed it."""

    session: str
    """Name of the session's Lease, by which it is known whether somebody is there."""
    holder: str
    """user@host, for people."""
    since: str
    """RFC 3339, by the API server's clock."""
    mode: Mode
    replicas: int = 0
    """Mode scale: what it had."""
    selector: tuple[tuple[str, str], ...] = ()
    """Mode selector: what the Service had, sorted."""


def build_record_text(record: Record) -> str:
    """The annotation's value."""
    obj: Json = {
        "version": 1,
        "session": record.session,
        "holder": record.holder,
        "since": record.since,
        "mode": record.mode,
    }
    if record.mode == "scale":
        obj["replicas"] = record.replicas
    else:
        obj["selector"] = dict(record.selector)
    return json.dumps(obj, separators=(",", ":"))


def parse_record(obj: Json) -> tuple[str, Record] | None:
    """The annotation of an object, as it stands there and as a record; None where it has none.

    Raises ValueError where there is one that we don't understand.
    """
    return parse_annotation(obj, ANNOTATION, _parse)


def _parse(stored: Json) -> Record:
    require(stored["version"] == 1, f"version {stored['version']!r}")
    mode = stored["mode"]
    words = [stored[key] for key in ("session", "holder", "since")]
    require(all(isinstance(word, str) for word in words), "session, holder, since")
    session, holder, since = words
    if mode == "scale":
        replicas = stored["replicas"]
        require(type(replicas) is int and 0 <= replicas <= MOST_REPLICAS, "replicas")
        return Record(session, holder, since, "scale", replicas=replicas)
    require(mode == "selector", "mode")
    return Record(session, holder, since, "selector", selector=parse_selector(stored))


def build_scale_down(obj: Json, record: Record) -> list[Json]:
    """For a Deployment or StatefulSet: store and scale to 0, if it is still as it was read."""
    return [
        *build_store(obj, ANNOTATION, build_record_text(record)),
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]


def build_repoint(obj: Json, record: Record, selector: dict[str, str]) -> list[Json]:
    """For a Service: store and send its traffic elsewhere, if it is still as it was read."""
    return [*build_store(obj, ANNOTATION, build_record_text(record)), build_lead(selector)]


def build_undo(text: str, record: Record) -> list[Json]:
    """Put the object back, if nobody has done so yet: 422 says that somebody has."""
    change = (
        {"op": "replace", "path": "/spec/replicas", "value": record.replicas}
        if record.mode == "scale"
        else build_lead(dict(record.selector))
    )
    return build_put_back(ANNOTATION, text, change)


def build_rehearsal(obj: Json, mode: Mode) -> list[Json]:
    """An undo of nothing: what it may not do, it won't do in earnest either. For dry runs."""
    path = "/spec/replicas" if mode == "scale" else "/spec/selector"
    default: Any = 1 if mode == "scale" else {}
    value = (obj.get("spec") or {}).get(path.rpartition("/")[2], default)
    return [
        {"op": "test", "path": "/metadata/uid", "value": obj["metadata"]["uid"]},
        {"op": "replace", "path": path, "value": value},
    ]


def build_repointing(text: str, selector: dict[str, str]) -> list[Json]:
    """Send a Service's traffic elsewhere once more, while the annotation is still this."""
    return [build_test(ANNOTATION, text), build_lead(selector)]


def build_time(moment: datetime) -> str:
    """RFC 3339, UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
