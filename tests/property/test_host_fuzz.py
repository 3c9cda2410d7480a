"""Garbage is refused as the protocol's error and as nothing else: requests, replies, journals."""

import contextlib
import json
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.errors import DnsError, RemoteProtocolError
from ktnet.host.facts import AddressFact, HostFacts, RouteFact, RuleFact
from ktnet.host.plan import LinkPlan
from ktnet.host.replies import Done, build_reply, parse_reply
from ktnet.host.requests import (
    CaptureRequest,
    FactsRequest,
    OpenRequest,
    ReleaseRequest,
    build_request,
    parse_request,
)
from ktnet.host.resolvconf import build_resolv_conf, parse_resolv_conf, without_ours
from ktnet.host.resolver_plan import ResolverFact, ResolverPlan
from ktnet.host.steps import (
    Former,
    LinkStep,
    Record,
    ResolverStep,
    RoutesStep,
    UnreachableStep,
    build_record,
    parse_record,
)

LINK = LinkPlan("ktnet0", IPv4Address("198.19.0.1"), IPv4Address("198.19.0.2"))
RESOLVER = ResolverPlan(LINK.address, ("demo.svc.cluster.local", "_odd.example"))
ROUTES = (IPv4Network("10.96.0.0/16"), IPv4Network("10.244.0.0/16"))
REQUESTS = [
    FactsRequest(),
    OpenRequest(LINK),
    CaptureRequest(ROUTES, RESOLVER),
    CaptureRequest((), None),
    CaptureRequest(ROUTES, None, (IPv6Network("fd00:10:96::/112"),)),
    ReleaseRequest(),
]
FACTS = HostFacts(
    links=("lo", "eth0@x:1"),
    addresses=(AddressFact("eth0", IPv4Address("10.0.0.2"), IPv4Network("10.0.0.0/24")),),
    routes=(
        RouteFact(IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("10.0.0.1"), 254, 100),
        RouteFact(IPv4Network("10.9.0.0/16"), "", None, 52, 2**32 - 1),
    ),
    resolver=ResolverFact("symlink", ("10.0.0.1", "fe80::1%eth0"), ("a.example",), stub=True),
    mended=("a former session was undone",),
    rules=(RuleFact(5270, 52, always=True), RuleFact(1, 254, always=False, suppressed=0)),
)
REPLIES = [FACTS, Done(("noted",)), Done()]
FORMER = Former("file", bytes(range(256)), 0o644, 0, 0, 1, 2**62)
RECORD = Record(
    "net:[4026531840]",
    "mnt:[4026531841]",
    (
        LinkStep("ktnet0", "ktnet:1-2"),
        RoutesStep("ktnet0", "ktnet:1-2", ROUTES),
        UnreachableStep((IPv6Network("fd00:10:96::/112"),)),
        ResolverStep(Path("/etc/resolv.conf"), "rewrite", b"ours", RESOLVER, FORMER),
    ),
)
PARSERS = [parse_request, parse_reply, parse_record]
VALID = [
    *((parse_request, build_request(7, request)) for request in REQUESTS),
    *((parse_reply, build_reply(7, reply)) for reply in [*REPLIES, DnsError("no", hint="yes")]),
    (parse_record, build_record(RECORD)),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_what_is_built_is_parsed_again() -> None:
    for request in REQUESTS:
        assert parse_request(build_request(7, request)) == (7, request)
    for reply in REPLIES:
        assert parse_reply(build_reply(7, reply)) == (7, reply)
    _, error = parse_reply(build_reply(7, DnsError("no", hint="yes")))
    assert (type(error), str(error), error.hint) == (DnsError, "no", "yes")
    assert parse_record(build_record(RECORD)) == RECORD


def test_replies_show_no_control_characters() -> None:
    _, reply = parse_reply(build_reply(1, DnsError("a\x1b[2Jb\nc\udc80")))
    assert str(reply) == "a?[2Jb?c?"


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=100, deadline=None)
def test_garbage(parse: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(data)


@pytest.mark.parametrize(("parse", "data"), VALID)
def test_every_truncation(parse: Callable[[bytes], Any], data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            parse(data[:length])


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inner:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += paths(item, (*path, key))
    return found


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_one_field_replaced(data: st.DataObject) -> None:
    parse, valid = data.draw(st.sampled_from(VALID))
    message = json.loads(valid)
    *outer, last = data.draw(st.sampled_from(paths(message)))
    parent = message
    for key in outer:
        parent = parent[key]
    parent[last] = data.draw(JSON)
    # Another value may happen to be valid, too.
    with contextlib.suppress(RemoteProtocolError):
        parse(json.dumps(message).encode())


@pytest.mark.parametrize(("parse", "data"), VALID)
def test_one_field_too_many_or_too_few(parse: Callable[[bytes], Any], data: bytes) -> None:
    message = json.loads(data)
    with pytest.raises(RemoteProtocolError):
        parse(json.dumps({**message, "more": 1}).encode())
    for key in message:
        with pytest.raises(RemoteProtocolError):
            parse(json.dumps({k: v for k, v in message.items() if k != key}).encode())


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"9" * 5000,
        b" " * 300_000 + b"{}",
        b'{"id":1,"do":"facts"}\xff',
        b'{"id":1e400}',
        b'{"id":NaN}',
    ],
)
def test_what_upsets_json_parsers(parse: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(data)


def altered(request: Any, **changes: Any) -> bytes:
    message = json.loads(build_request(1, request))
    for path, value in changes.items():
        *outer, last = path.split("__")
        parent = message
        for key in outer:
            parent = parent[key]
        parent[last] = value
    return json.dumps(message).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"link__name": "eth0"},
        {"link__name": "ktnet0/../x"},
        {"link__name": "ktnet0\n"},
        {"link__name": "ktnet99999"},
        {"link__address": "10.0.0.1"},
        {"link__address": "198.19.0.2"},
        {"link__peer": "127.0.0.1"},
        {"link__address": 3323068417},
        {"link__mtu": 68},
        {"link__mtu": 1e3},
        {"link__mtu": True},
        {"id": -1},
        {"id": True},
    ],
)
def test_links_that_no_plan_contains(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_request(altered(OpenRequest(LINK), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"routes": ["0.0.0.0/0"]},
        {"routes": ["0.0.0.0/1"]},
        {"routes": ["127.0.0.0/16"]},
        {"routes": ["224.0.0.0/8"]},
        {"routes": ["169.254.169.254/32"]},
        {"routes": ["10.96.0.1/16"]},
        {"routes": ["10.96.0.0"]},
        {"routes": ["10.96.0.0/255.255.0.0", "10.96.0.0/16"]},
        {"routes": ["10.96.0.0/16", "10.96.0.0/16"]},
        {"routes": [f"10.0.{n // 256}.{n % 256}/32" for n in range(513)]},
        {"routes": [["10.96.0.0/16"]]},
        {"resolver__nameserver": "::1"},
        {"resolver__nameserver": "198.19.0.1\noptions debug"},
        {"resolver__search": ["a.example\nnameserver 10.6.6.6"]},
        {"resolver__search": ["a b"]},
        {"resolver__search": ["a..b"]},
        {"resolver__search": [""]},
        {"resolver__search": ["x" * 64 + ".example"]},
        {"resolver__search": [f"d{n}.example" for n in range(33)]},
        {"resolver": 0},
    ],
)
def test_captures_that_no_plan_contains(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_request(altered(CaptureRequest(ROUTES, RESOLVER), **changes))


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_resolvers_file(text: str) -> None:
    found = parse_resolv_conf(text, "host.example")
    reply = HostFacts((), (), (), ResolverFact("file", found.nameservers, found.search, stub=False))
    assert parse_reply(build_reply(1, reply)) == (1, reply)
    ours = build_resolv_conf(RESOLVER, found.kept)
    assert parse_resolv_conf(ours).nameservers == (str(RESOLVER.nameserver),)
    assert parse_resolv_conf(ours).kept == found.kept
    rest = without_ours(ours + text, RESOLVER)
    assert rest is None or str(RESOLVER.nameserver) not in parse_resolv_conf(rest).nameservers
