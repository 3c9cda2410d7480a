"""What the client asks of the helper: one JSON object per datagram. Pure.

    {"id": 1, "do": "facts"}
    {"id": 2, "do": "open", "link": {"name", "address", "peer", "mtu"}}
    {"id": 3, "do": "capture", "routes": [...], "resolver": ... or null, "unreachable": [...]}
    {"id": 4, "do": "release"}

and the resolver is {"nameserver", "search"} for the file, {"nameserver", "search", "routing"} for
systemd-resolved.

The helper has root's rights and the client has not, so the bounds are narrow: what a plan can't
contain, a request can't ask for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from ktnet.errors import RemoteProtocolError
from ktnet.host.checker import MAX_ROUTES, NEVER_CAPTURED, TUN_RANGE
from ktnet.host.fields import Fields, parse_object
from ktnet.host.plan import LinkPlan
from ktnet.host.resolver_plan import (
    MAX_DOMAINS,
    MAX_SEARCH,
    AnyResolverPlan,
    ResolvedPlan,
    ResolverPlan,
)
from ktnet.host.unreachable import MAX_UNREACHABLE

MAX_REQUEST_BYTES = 128 * 1024
"""A capture of MAX_ROUTES networks and MAX_DOMAINS of the longest domains has less than 80 KiB."""

MAX_ID = 2**31 - 1

MAX_LINK_NAME = 15
"""IFNAMSIZ of linux/if.h, without the final zero."""

LINK_NAME = r"ktnet[0-9]{1,4}"


@dataclass(frozen=True)
class FactsRequest:
    """What is there?"""


@dataclass(frozen=True)
class OpenRequest:
    """Make this TUN, with its DNS sockets: the reply carries the three descriptors."""

    link: LinkPlan


@dataclass(frozen=True)
class CaptureRequest:
    """Have exactly these routes into the TUN, names resolved so, and these networks unreachable."""

    routes: tuple[IPv4Network, ...]
    resolver: AnyResolverPlan | None
    unreachable: tuple[IPv6Network, ...] = ()


@dataclass(frozen=True)
class ReleaseRequest:
    """Undo everything."""


Request = FactsRequest | OpenRequest | CaptureRequest | ReleaseRequest


def build_request(number: int, request: Request) -> bytes:
    """The datagram of a request."""
    fields: dict[str, Any]
    match request:
        case FactsRequest():
            fields = {"do": "facts"}
        case OpenRequest(link):
            fields = {"do": "open", "link": _link_to_json(link)}
        case CaptureRequest(routes, resolver, unreachable):
            fields = {
                "do": "capture",
                "routes": [str(network) for network in routes],
                "resolver": None if resolver is None else resolver_to_json(resolver),
                "unreachable": [str(network) for network in unreachable],
            }
        case ReleaseRequest():
            fields = {"do": "release"}
    return json.dumps({"id": number, **fields}).encode()


def parse_request(data: bytes) -> tuple[int, Request]:
    """A request and its number. Raises RemoteProtocolError for all else."""
    fields = parse_object(data, "a request to the helper", MAX_REQUEST_BYTES)
    number = fields.integer("id", 0, MAX_ID)
    wanted = fields.text("do", 10)
    request: Request
    if wanted == "facts":
        request = FactsRequest()
    elif wanted == "open":
        request = OpenRequest(_parse_link(fields.object("link")))
    elif wanted == "capture":
        request = CaptureRequest(
            _parse_routes(fields),
            None
            if fields.take_null("resolver")
            else _parse_any_resolver(fields.object("resolver")),
            fields.networks6("unreachable", MAX_UNREACHABLE),
        )
    elif wanted == "release":
        request = ReleaseRequest()
    else:
        raise RemoteProtocolError("the helper is asked for what it doesn't know")
    fields.end()
    return number, request


def _link_to_json(link: LinkPlan) -> dict[str, Any]:
    return {
        "name": link.name,
        "address": str(link.address),
        "peer": str(link.peer),
        "mtu": link.mtu,
    }


def _parse_link(fields: Fields) -> LinkPlan:
    link = LinkPlan(
        name=fields.text("name", MAX_LINK_NAME, LINK_NAME),
        address=fields.address("address"),
        peer=fields.address("peer"),
        # 576 is what every host must take (RFC 791 section 3.1), 65,535 what a packet can have.
        mtu=fields.integer("mtu", 576, 65535),
    )
    fields.end()
    if link.address == link.peer or link.address not in TUN_RANGE or link.peer not in TUN_RANGE:
        raise RemoteProtocolError(f"the helper is asked for TUN addresses outside of {TUN_RANGE}")
    return link


def _parse_routes(fields: Fields) -> tuple[IPv4Network, ...]:
    routes = fields.networks("routes", MAX_ROUTES)
    # 0.0.0.0/0 is refused by this, too: it overlaps all of them.
    if any(network.overlaps(never) for network in routes for never in NEVER_CAPTURED):
        raise RemoteProtocolError("the helper is asked to capture what is never captured")
    return routes


def resolver_to_json(resolver: AnyResolverPlan) -> dict[str, Any]:
    """A resolver's plan as JSON values."""
    fields = {"nameserver": str(resolver.nameserver), "search": list(resolver.search)}
    if isinstance(resolver, ResolvedPlan):
        fields["routing"] = list(resolver.routing)
    return fields


def parse_resolver(fields: Fields) -> ResolverPlan:
    """A ResolverPlan from JSON values. Raises RemoteProtocolError."""
    resolver = ResolverPlan(fields.address("nameserver"), fields.domains("search", MAX_SEARCH))
    fields.end()
    return resolver


def _parse_any_resolver(fields: Fields) -> AnyResolverPlan:
    if not fields.has("routing"):
        return parse_resolver(fields)
    plan = ResolvedPlan(
        fields.address("nameserver"),
        fields.domains("search", MAX_SEARCH),
        fields.domains("routing", MAX_DOMAINS),
    )
    fields.end()
    if len(plan.search) + len(plan.routing) > MAX_DOMAINS:
        raise RemoteProtocolError(
            "the helper is asked for more domains than systemd-resolved takes"
        )
    return plan
