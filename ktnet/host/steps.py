"""The steps that change this machine, as the journal holds them: enough to undo each. Pure.

A step is written down before it is made, so an undo finds it made, half made or not made at all.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from ktnet.errors import RemoteProtocolError
from ktnet.host.checker import MAX_ROUTES
from ktnet.host.fields import Fields, parse_object
from ktnet.host.requests import LINK_NAME, MAX_LINK_NAME, parse_resolver, resolver_to_json
from ktnet.host.resolver_plan import ResolverPlan
from ktnet.host.unreachable import MAX_UNREACHABLE

VERSION = 1
MAX_RECORD_BYTES = 256 * 1024
_MAX_PATH = 4096
_NANOSECONDS = 2**63 - 1


@dataclass(frozen=True)
class LinkStep:
    """The TUN `name` is made; it is ours as long as it bears `alias`."""

    name: str
    alias: str


@dataclass(frozen=True)
class RoutesStep:
    """`networks` are routed into the TUN."""

    name: str
    alias: str
    networks: tuple[IPv4Network, ...]


@dataclass(frozen=True)
class UnreachableStep:
    """`networks` have unreachable routes. They are no device's, but ours by protocol and metric."""

    networks: tuple[IPv6Network, ...]


@dataclass(frozen=True)
class Former:
    """The resolver's file as it was. For a symlink `content` is its target; times in ns."""

    kind: Literal["file", "symlink", "missing"]
    content: bytes
    mode: int
    owner: int
    group: int
    accessed_ns: int
    modified_ns: int


@dataclass(frozen=True)
class ResolverStep:
    """The resolver's file at `path` becomes `ours`.

    `replace` puts a new file in the place of the old one, which stays as `backup` beside it;
    `rewrite` writes into the very file, where that can't be replaced.
    """

    path: Path
    way: Literal["replace", "rewrite"]
    ours: bytes
    plan: ResolverPlan
    former: Former

    @property
    def backup(self) -> Path:
        """The old file, under a name of its own."""
        return backup_of(self.path)

    @property
    def draft(self) -> Path:
        """Our file, before it takes the place."""
        return self.path.with_name(self.path.name + ".ktnet-new")


@dataclass(frozen=True)
class ResolvedStep:
    """systemd-resolved is told of the TUN `name`."""

    name: str
    alias: str


def backup_of(path: Path) -> Path:
    """The name under which the former file waits; a person who has to mend by hand finds it."""
    return path.with_name(path.name + ".before-ktnet")


Step = LinkStep | RoutesStep | UnreachableStep | ResolverStep | ResolvedStep


@dataclass(frozen=True)
class Record:
    """A journal: in which namespaces the steps were made, and the steps in order."""

    net: str
    mnt: str
    steps: tuple[Step, ...]


def build_record(record: Record) -> bytes:
    """The journal's content."""
    steps = [_step_to_json(step) for step in record.steps]
    fields = {"version": VERSION, "net": record.net, "mnt": record.mnt, "steps": steps}
    return json.dumps(fields).encode()


def parse_record(data: bytes) -> Record:
    """A journal's content. Raises RemoteProtocolError for garbage, and for another version's."""
    fields = parse_object(data, "a journal", MAX_RECORD_BYTES)
    if fields.integer("version", 0, 2**31) != VERSION:
        raise RemoteProtocolError("a journal is of another version of ktnet")
    record = Record(
        net=fields.text("net", 100),
        mnt=fields.text("mnt", 100),
        steps=tuple(_parse_step(item) for item in fields.objects("steps", 16)),
    )
    fields.end()
    return record


def _step_to_json(step: Step) -> dict[str, Any]:
    match step:
        case LinkStep(name, alias):
            return {"step": "link", "name": name, "alias": alias}
        case ResolvedStep(name, alias):
            return {"step": "resolved", "name": name, "alias": alias}
        case RoutesStep(name, alias, networks):
            routes = [str(network) for network in networks]
            return {"step": "routes", "name": name, "alias": alias, "networks": routes}
        case UnreachableStep(unreachable):
            return {"step": "unreachable", "networks": [str(network) for network in unreachable]}
        case ResolverStep(path, way, ours, plan, former):
            return {
                "step": "resolver",
                "path": str(path),
                "way": way,
                "ours": _bytes_to_json(ours),
                "plan": resolver_to_json(plan),
                "former": {
                    "kind": former.kind,
                    "content": _bytes_to_json(former.content),
                    "mode": former.mode,
                    "owner": former.owner,
                    "group": former.group,
                    "accessed_ns": former.accessed_ns,
                    "modified_ns": former.modified_ns,
                },
            }


def _parse_step(fields: Fields) -> Step:
    kind = fields.text("step", 20)
    step: Step
    if kind == "link":
        step = LinkStep(fields.text("name", MAX_LINK_NAME, LINK_NAME), fields.text("alias", 100))
    elif kind == "resolved":
        step = ResolvedStep(
            fields.text("name", MAX_LINK_NAME, LINK_NAME), fields.text("alias", 100)
        )
    elif kind == "routes":
        step = RoutesStep(
            fields.text("name", MAX_LINK_NAME, LINK_NAME),
            fields.text("alias", 100),
            fields.networks("networks", 2 * MAX_ROUTES),
        )
    elif kind == "unreachable":
        step = UnreachableStep(fields.networks6("networks", 2 * MAX_UNREACHABLE))
    elif kind == "resolver":
        step = ResolverStep(
            path=Path(fields.text("path", _MAX_PATH, r"/[^\x00]*")),
            way="replace" if fields.text("way", 10, "replace|rewrite") == "replace" else "rewrite",
            ours=_parse_bytes(fields, "ours"),
            plan=parse_resolver(fields.object("plan")),
            former=_parse_former(fields.object("former")),
        )
    else:
        raise RemoteProtocolError("a journal has an unknown step")
    fields.end()
    return step


def _parse_former(fields: Fields) -> Former:
    kind = fields.text("kind", 10, "file|symlink|missing")
    former = Former(
        kind="file" if kind == "file" else "symlink" if kind == "symlink" else "missing",
        content=_parse_bytes(fields, "content"),
        mode=fields.integer("mode", 0, 0o7777),
        owner=fields.integer("owner", 0, 2**32 - 1),
        group=fields.integer("group", 0, 2**32 - 1),
        accessed_ns=fields.integer("accessed_ns", 0, _NANOSECONDS),
        modified_ns=fields.integer("modified_ns", 0, _NANOSECONDS),
    )
    fields.end()
    return former


def _bytes_to_json(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _parse_bytes(fields: Fields, name: str) -> bytes:
    text = fields.text(name, MAX_RECORD_BYTES)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RemoteProtocolError(f'a journal: the field "{name}" is no base64') from error
