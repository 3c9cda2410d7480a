"""Whose name it is: rule by rule."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from ktnet.dns.names import format_name, parse_name
from ktnet.dns.policy import Rule, Zone, build_policy, parse_reverse_name
from ktnet.errors import UsageError
from ktnet.wire.service import Service

PLAIN = Service(headless=False, addresses=(IPv4Address("10.96.0.7"),))
HEADLESS = Service(headless=True, addresses=())
SERVICES = {
    ("demo", "tomcat"): PLAIN,
    ("io", "foo"): PLAIN,
    ("svc", "odd"): PLAIN,
    ("local", "cluster"): PLAIN,
    ("data", "db"): HEADLESS,
    ("svc", "hl"): HEADLESS,
}


def find(namespace: str, name: str) -> Service | None:
    return SERVICES.get((namespace, name))


POLICY = build_policy(
    "cluster.local",
    [
        IPv4Network("10.96.0.0/17"),
        IPv4Network("10.96.128.0/17"),
        IPv4Network("10.244.0.0/24"),
        IPv4Network("10.9.8.7/32"),
    ],
    find,
    include=["corp.example", "Internal."],
    exclude=[
        "secret.corp.example",
        "legacy.svc.cluster.local",
        "demo.svc",
        "4.244.10.in-addr.arpa",
    ],
    search=["office.example", "Example"],
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
        # below a headless Service, its endpoints; below any, its ports
        ("db.data", "db.data.svc.cluster.local"),
        ("db-0.db.data", "db-0.db.data.svc.cluster.local"),
        ("DB-0.Db.Data.svc", "DB-0.Db.Data.svc.cluster.local"),
        ("x.hl.svc", "x.hl.svc.svc.cluster.local"),
        ("_http._tcp.db.data", "_http._tcp.db.data.svc.cluster.local"),
        ("_http._tcp.tomcat.demo", "_http._tcp.tomcat.demo.svc.cluster.local"),
        ("_http._tcp.foo.io.svc", "_http._tcp.foo.io.svc.cluster.local"),
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
    decision = POLICY.decide(name)
    assert (decision.zone, decision.ask) == (Zone.CLUSTER, parse_name(full) if full else name)


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
        "x.tomcat.demo",  # a Service, but not a headless one
        "www.foo.io",
        "a.b.db.data",
        "_http.b.db.data",
        "_http._tcp.db-0.db.data",
        "_http._tcp.absent.data",
        "db-0.absent.data",
        "tomcat.demo.svc.cluster.local.example.com",  # no search domain
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
    decision = POLICY.decide(name)
    assert (decision.zone, decision.ask, decision.service) == (Zone.OUTSIDE, name, None)


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
    decision = POLICY.decide(name)
    assert (decision.zone, decision.ask, decision.service) == (Zone.OUTSIDE, name, None)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ("a.secret.corp.example", Rule.EXCLUDED),
        ("x.cluster.local", Rule.CLUSTER_DOMAIN),
        ("tomcat.demo", Rule.SERVICE),
        ("db-0.db.data", Rule.SERVICE),
        ("1.0.96.10.in-addr.arpa", Rule.CAPTURED),
        ("api.corp.example", Rule.INCLUDED),
        ("example.com", Rule.OTHER),
    ],
)
def test_rule(asked: str, rule: Rule) -> None:
    assert POLICY.decide(parse_name(asked)).rule is rule


@pytest.mark.parametrize(
    ("asked", "service"),
    [
        ("tomcat.demo.svc.cluster.local", PLAIN),
        ("TOMCAT.demo.svc.Cluster.local", PLAIN),
        ("tomcat.demo", PLAIN),
        ("tomcat.demo.svc", None),  # excluded
        ("foo.io.svc", PLAIN),
        ("_http._tcp.tomcat.demo", PLAIN),
        ("_http._tcp.tomcat.demo.svc.cluster.local", PLAIN),
        ("db.data.svc.cluster.local", HEADLESS),
        # an endpoint isn't there because its Service is
        ("db-0.db.data.svc.cluster.local", None),
        ("db-0.db.data", None),
        ("absent.demo.svc.cluster.local", None),
        ("x.tomcat.demo.svc.cluster.local", None),
        ("tomcat.demo.pod.cluster.local", None),
        ("demo.svc.cluster.local", None),
        ("svc.cluster.local", None),
        ("cluster.local", None),
    ],
)
def test_service_is_known_where_the_name_is_its_own(asked: str, service: Service | None) -> None:
    assert POLICY.decide(parse_name(asked)).service == service


@pytest.mark.parametrize(
    ("asked", "zone"),
    [
        ("absent.demo.svc.cluster.local.office.example", Zone.NOBODY),
        ("Absent.Demo.svc.Cluster.Local.OFFICE.example", Zone.NOBODY),
        ("cluster.local.example", Zone.NOBODY),
        ("mycluster.local.office.example", Zone.OUTSIDE),
        # These may well be somebody's.
        ("tomcat.demo.office.example", Zone.OUTSIDE),
        ("tomcat.office.example", Zone.OUTSIDE),
        ("cluster.local.elsewhere.example", Zone.OUTSIDE),
    ],
)
def test_what_search_domains_make_of_the_clusters_names_is_nobodys(asked: str, zone: Zone) -> None:
    decision = POLICY.decide(parse_name(asked))
    assert (decision.zone, decision.ask) == (zone, parse_name(asked))


def test_name_too_long_to_be_completed_is_outside() -> None:
    policy = build_policy(".".join(["c" * 63, "c" * 63, "c" * 60]), [], lambda *_: PLAIN)
    assert policy.decide((b"a", b"b")).zone is Zone.CLUSTER
    long = (b"a" * 63, b"b" * 63)
    assert policy.decide(long).zone is Zone.OUTSIDE


def test_services_are_asked_for_in_lower_case_and_only_where_they_matter() -> None:
    asked = []

    def remember(namespace: str, name: str) -> None:
        asked.append((namespace, name))

    policy = build_policy("cluster.local", [], remember)
    names = {
        "Tomcat.DEMO": [("demo", "tomcat")],
        "a.b.svc": [("b", "a"), ("svc", "b")],
        "a.b.c": [("c", "b")],
        "_a._b.c.d": [("d", "c")],
        "a.b.c.d": [],
        "single": [],
        "svc": [],
        "x.cluster.local": [],
        "x.svc.cluster.local": [],
        "y.x.svc.cluster.local": [("x", "y")],
    }
    for name, expected in names.items():
        asked.clear()
        policy.decide(parse_name(name))
        assert asked == expected, name


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, ".".join(["a" * 60] * 5), "a..", ".."])
def test_names_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError):
        build_policy(text, [], find)
    with pytest.raises(UsageError):
        build_policy("cluster.local", [], find, include=[text])


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
