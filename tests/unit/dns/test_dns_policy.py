"""Whose name it is: rule by rule."""

from ipaddress import IPv4Network

import pytest

from ktnet.dns.names import format_name, parse_name
from ktnet.dns.policy import Decision, Zone, build_policy, parse_reverse_name
from ktnet.errors import UsageError

SERVICES = {("demo", "tomcat"), ("io", "foo"), ("svc", "odd"), ("local", "cluster")}


def exists(namespace: str, name: str) -> bool:
    return (namespace, name) in SERVICES


POLICY = build_policy(
    "cluster.local",
    [
        IPv4Network("10.96.0.0/17"),
        IPv4Network("10.96.128.0/17"),
        IPv4Network("10.244.0.0/24"),
        IPv4Network("10.9.8.7/32"),
    ],
    exists,
    include=["corp.example", "Internal."],
    exclude=[
        "secret.corp.example",
        "legacy.svc.cluster.local",
        "demo.svc",
        "4.244.10.in-addr.arpa",
    ],
)


@pytest.mark.parametrize(
    ("asked", "full"),
    [
        ("tomcat.demo.svc.cluster.local", None),
        ("ToMcAt.Demo.SVC.Cluster.LOCAL.", None),
        ("nobody.nowhere.svc.cluster.local", None),
        ("_http._tcp.tomcat.demo.svc.cluster.local", None),
        ("10-244-0-7.demo.pod.cluster.local", None),
        ("cluster.local", None),
        ("tomcat.demo", "tomcat.demo.svc.cluster.local"),
        ("TomCat.DEMO.", "TomCat.DEMO.svc.cluster.local"),
        ("foo.io.svc", "foo.io.svc.cluster.local"),
        ("FOO.io.SVC", "FOO.io.SVC.cluster.local"),
        ("odd.svc", "odd.svc.svc.cluster.local"),
        ("foo.io", "foo.io.svc.cluster.local"),
        ("api.corp.example", None),
        ("Corp.Example", None),
        ("x.internal", None),
        ("1.0.96.10.in-addr.arpa", None),
        ("255.255.96.10.IN-ADDR.ARPA", None),
        ("96.10.in-addr.arpa", None),  # two captured halves make the whole
        ("0.244.10.in-addr.arpa", None),
        ("7.8.9.10.in-addr.arpa", None),
        ("b._dns-sd._udp.0.0.244.10.in-addr.arpa", None),
        ("b._dns-sd._udp.0.244.10.in-addr.arpa", None),
    ],
)
def test_cluster(asked: str, full: str | None) -> None:
    name = parse_name(asked)
    assert POLICY.decide(name) == Decision(Zone.CLUSTER, parse_name(full) if full else name)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "local",
        "tomcat",
        "svc",
        "example.com",
        "bar.io",
        "tomcat.other",
        "tomcat.demo.example.com",
        "x.tomcat.demo",
        "tomcat.demo.svc.cluster.local.example.com",
        "notcluster.local",
        "mycorp.example",
        "internal.example",
        # excluded, whatever else would hold
        "secret.corp.example",
        "a.secret.corp.example",
        "tomcat.legacy.svc.cluster.local",
        "tomcat.demo.svc",
        "1.4.244.10.in-addr.arpa",
        # reverse names of what is not captured, in part not captured, or no address at all
        "in-addr.arpa",
        "10.in-addr.arpa",
        "244.10.in-addr.arpa",
        "1.1.244.10.in-addr.arpa",
        "8.9.10.in-addr.arpa",
        "1.0.97.10.in-addr.arpa",
        "1.0.096.10.in-addr.arpa",
        "1.0.96.010.in-addr.arpa",
        "1.0.96.266.in-addr.arpa",
        "x.in-addr.arpa",
        "1.0.96.10.ip6.arpa",
        "1.0.96.10.in-addr.arpa.example.com",
    ],
)
def test_outside(asked: str) -> None:
    name = parse_name(asked)
    assert POLICY.decide(name) == Decision(Zone.OUTSIDE, name)


@pytest.mark.parametrize(
    "name",
    [
        (b"tomcat.demo",),
        (b"tomcat.demo.svc.cluster", b"local"),
        (b"tomcat", b"demo\0"),
        (b"\xff", b"demo"),
        (b"0", b"96", b"10", b"in-addr.arpa"),
        (b"0.96.10", b"in-addr", b"arpa"),
        (b"\xb2", b"in-addr", b"arpa"),
        (b"", b"in-addr", b"arpa"),
    ],
)
def test_hostile_labels_are_outside(name: tuple[bytes, ...]) -> None:
    assert POLICY.decide(name) == Decision(Zone.OUTSIDE, name)


def test_name_too_long_to_be_completed_is_outside() -> None:
    policy = build_policy(".".join(["c" * 63, "c" * 63, "c" * 60]), [], lambda *_: True)
    assert policy.decide((b"a", b"b")).zone is Zone.CLUSTER
    long = (b"a" * 63, b"b" * 63)
    assert policy.decide(long) == Decision(Zone.OUTSIDE, long)


def test_services_are_asked_for_in_lower_case_and_only_where_they_matter() -> None:
    asked = []

    def remember(namespace: str, name: str) -> bool:
        asked.append((namespace, name))
        return False

    policy = build_policy("cluster.local", [], remember)
    for name in ("Tomcat.DEMO", "a.b.svc", "a.b.c", "single", "x.cluster.local"):
        policy.decide(parse_name(name))
    assert asked == [("demo", "tomcat"), ("b", "a")]


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, ".".join(["a" * 60] * 5), "a..", ".."])
def test_names_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError):
        build_policy(text, [], exists)
    with pytest.raises(UsageError):
        build_policy("cluster.local", [], exists, include=[text])


def test_names_in_text() -> None:
    assert parse_name("Bücher.example") == (b"xn--bcher-kva", b"example")
    assert parse_name("a.b.") == parse_name("a.b") == (b"a", b"b")
    assert parse_name("") == parse_name(".") == ()
    assert format_name(()) == "."
    assert format_name((b"a.b", b"\n\x1b[1m", b"c")) == "a\\046b.\\010\\027[1m.c."


def test_reverse_names() -> None:
    assert parse_reverse_name(parse_name("7.2.1.10.in-addr.arpa")) == IPv4Network("10.1.2.7/32")
    assert parse_reverse_name(parse_name("10.in-addr.arpa")) == IPv4Network("10.0.0.0/8")
    assert parse_reverse_name(parse_name("0/25.2.0.192.in-addr.arpa")) == IPv4Network(
        "192.0.2.0/24"
    )
    assert parse_reverse_name(parse_name("example.com")) is None
