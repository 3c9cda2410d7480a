"""What the helper answers: one JSON object per datagram. Pure.

{"id": 1, "is": "facts", "links": [...], "addresses": [...], "routes": [...], ...}
{"id": 2, "is": "done", "notes": [...]}
{"id": 0, "is": "resolver", "resolver": {...}}
{"id": 3, "is": "error", "kind": "DnsError", "message": "...", "hint": "..."}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ktnet.errors import (
    CaptureRefused,
    Conflict,
    DnsError,
    HostNetworkError,
    HostPermissionError,
    KtnetError,
    LocalProtocolError,
    RemoteProtocolError,
)
from ktnet.host.facts import AddressFact, HostFacts, RouteFact, RuleFact
from ktnet.host.fields import Fields, parse_object
from ktnet.host.requests import MAX_ID, MAX_LINK_NAME
from ktnet.host.resolver_plan import ResolverFact

MAX_REPLY_BYTES = 192 * 1024
"""Below the default send buffer of a socket (212,992 octets), which bounds a datagram."""

MAX_FACTS = 500
"""Of links, addresses and routes each, so that all of them fit into MAX_REPLY_BYTES."""

MAX_SUBNETS6 = 200
MAX_RULES = 200

UNASKED = 0
"""The number of what is said without having been asked."""

MAX_NOTES = 32
_MAX_TEXT = 1000
_MAX_NUMBER = 2**32 - 1
_LINK = r"[^\x00-\x20/\x7f]*"
_KINDS: tuple[Literal["file", "symlink", "bind-mount", "missing"], ...] = (
    "file",
    "symlink",
    "bind-mount",
    "missing",
)
_ERRORS: dict[str, type[KtnetError]] = {
    kind.__name__: kind
    for kind in (
        CaptureRefused,
        Conflict,
        DnsError,
        HostNetworkError,
        HostPermissionError,
        KtnetError,
        LocalProtocolError,
        RemoteProtocolError,
    )
}


@dataclass(frozen=True)
class Done:
    """It is done; `notes` are for the user, one sentence each."""

    notes: tuple[str, ...] = ()


Reply = HostFacts | Done | ResolverFact | KtnetError


def build_reply(number: int, reply: Reply) -> bytes:
    """The datagram of a reply."""
    fields: dict[str, Any]
    match reply:
        case HostFacts():
            fields = {"is": "facts", **_facts_to_json(reply)}
        case ResolverFact():
            fields = {"is": "resolver", "resolver": _resolver_to_json(reply)}
        case Done(notes):
            fields = {"is": "done", "notes": [_printable(note) for note in notes[:MAX_NOTES]]}
        case KtnetError():
            kind = type(reply).__name__
            fields = {
                "is": "error",
                "kind": kind if kind in _ERRORS else KtnetError.__name__,
                "message": _printable(reply.message),
                "hint": _printable(reply.hint),
            }
    return json.dumps({"id": number, **fields}, separators=(",", ":")).encode()


def parse_reply(data: bytes) -> tuple[int, Reply]:
    """A reply and the number of its request. Raises RemoteProtocolError for all else."""
    fields = parse_object(data, "a reply of the helper", MAX_REPLY_BYTES)
    number = fields.integer("id", 0, MAX_ID)
    form = fields.text("is", 10)
    reply: Reply
    if form == "facts":
        reply = _parse_facts(fields)
    elif form == "resolver":
        reply = _parse_resolver_fact(fields.object("resolver"))
    elif form == "done":
        reply = Done(fields.texts("notes", MAX_NOTES, _MAX_TEXT))
    elif form == "error":
        kind = _ERRORS.get(fields.text("kind", 30))
        if kind is None:
            raise RemoteProtocolError("a reply of the helper has an unknown kind of error")
        reply = kind(fields.text("message", _MAX_TEXT), hint=fields.text("hint", _MAX_TEXT))
    else:
        raise RemoteProtocolError("a reply of the helper has an unknown form")
    fields.end()
    return number, reply


def _printable(text: str) -> str:
    """Names of files and links may hold anything; a terminal shall not obey them."""
    return "".join(c if c.isprintable() else "?" for c in text)[:_MAX_TEXT]


def _facts_to_json(facts: HostFacts) -> dict[str, Any]:
    return {
        "links": list(facts.links[:MAX_FACTS]),
        "addresses": [
            {"link": a.link, "address": str(a.address), "network": str(a.network)}
            for a in facts.addresses[:MAX_FACTS]
        ],
        "routes": [
            {
                "network": str(r.network),
                "link": r.link,
                "gateway": None if r.gateway is None else str(r.gateway),
                "table": r.table,
                "metric": r.metric,
            }
            for r in facts.routes[:MAX_FACTS]
        ],
        "resolver": _resolver_to_json(facts.resolver),
        "mended": [_printable(note) for note in facts.mended[:MAX_NOTES]],
        "held": facts.held,
        "rules": [asdict(rule) for rule in facts.rules[:MAX_RULES]],
        "subnets6": [str(subnet) for subnet in facts.subnets6[:MAX_SUBNETS6]],
    }


def _resolver_to_json(fact: ResolverFact) -> dict[str, Any]:
    return {
        "kind": fact.kind,
        "nameservers": list(fact.nameservers),
        "search": list(fact.search),
        "stub": fact.stub,
        "manager": fact.manager,
        "resolved": fact.resolved,
    }


def _parse_facts(fields: Fields) -> HostFacts:
    return HostFacts(
        links=fields.texts("links", MAX_FACTS, MAX_LINK_NAME, _LINK),
        addresses=tuple(_parse_address(item) for item in fields.objects("addresses", MAX_FACTS)),
        routes=tuple(_parse_route(item) for item in fields.objects("routes", MAX_FACTS)),
        resolver=_parse_resolver_fact(fields.object("resolver")),
        mended=fields.texts("mended", MAX_NOTES, _MAX_TEXT),
        held=fields.flag("held"),
        rules=tuple(_parse_rule(item) for item in fields.objects("rules", MAX_RULES)),
        subnets6=fields.networks6("subnets6", MAX_SUBNETS6),
    )


def _parse_address(fields: Fields) -> AddressFact:
    fact = AddressFact(
        link=fields.text("link", MAX_LINK_NAME, _LINK),
        address=fields.address("address"),
        network=fields.network("network"),
    )
    fields.end()
    return fact


def _parse_route(fields: Fields) -> RouteFact:
    fact = RouteFact(
        network=fields.network("network"),
        link=fields.text("link", MAX_LINK_NAME, _LINK),
        gateway=None if fields.take_null("gateway") else fields.address("gateway"),
        table=fields.integer("table", 0, _MAX_NUMBER),
        metric=fields.integer("metric", 0, _MAX_NUMBER),
    )
    fields.end()
    return fact


def _parse_rule(fields: Fields) -> RuleFact:
    fact = RuleFact(
        priority=fields.integer("priority", 0, _MAX_NUMBER),
        table=fields.integer("table", 0, _MAX_NUMBER),
        always=fields.flag("always"),
        suppressed=(
            None if fields.take_null("suppressed") else fields.integer("suppressed", 0, 32)
        ),
    )
    fields.end()
    return fact


def _parse_resolver_fact(fields: Fields) -> ResolverFact:
    kind = fields.text("kind", 20)
    known = next((k for k in _KINDS if k == kind), None)
    if known is None:
        raise RemoteProtocolError("a reply of the helper has an unknown kind of resolver file")
    fact = ResolverFact(
        kind=known,
        nameservers=fields.texts("nameservers", 8, 100, r"[0-9A-Fa-f.:]+(%[^\x00-\x20\x7f]+)?"),
        search=fields.domains("search", 64),
        stub=fields.flag("stub"),
        manager=fields.text("manager", 40, r"[A-Za-z-]*"),
        resolved=fields.flag("resolved"),
    )
    fields.end()
    return fact
