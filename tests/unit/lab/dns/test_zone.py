"""The cluster's names, each answered as CoreDNS 1.14 was seen to answer."""

from typing import Any

import pytest
from dnslib import QTYPE, RCODE

from ktnet.lab.dns.zone import Answer, Zone, parse_reverse


def build_service(namespace: str, name: str, address: str | None, **spec: Any) -> Any:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": address, **spec},
    }


def build_slice(
    namespace: str, service: str, ports: list[Any], *endpoints: tuple[str, str | None, bool]
) -> Any:
    return {
        "metadata": {
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": ready},
                **({"hostname": hostname} if hostname else {}),
            }
            for address, hostname, ready in endpoints
        ],
    }


WEB_PORTS = [
    {"name": "http", "port": 80, "protocol": "TCP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
]
POD_PORTS = [{"name": "http", "port": 8080, "protocol": "TCP"}]

ZONE = Zone(
    [
        build_service("kube-system", "kube-dns", "10.96.0.10", ports=[]),
        build_service("demo", "web", "10.96.1.1", ports=WEB_PORTS),
        build_service("demo", "noname", "10.96.1.2", ports=[{"port": 80}]),
        build_service("demo", "db", "None", ports=POD_PORTS),
        build_service("demo", "portless", "None"),
        build_service("demo", "asleep", "None"),
        build_service(
            "demo", "inside", None, type="ExternalName", externalName="WEB.demo.svc.cluster.local."
        ),
        build_service("demo", "outside", None, type="ExternalName", externalName="www.example.com"),
        build_service("demo", "numeric", None, type="ExternalName", externalName="10.1.2.3"),
    ],
    [
        build_slice("demo", "web", POD_PORTS, ("10.244.0.3", None, True)),
        build_slice(
            "demo", "db", POD_PORTS, ("10.244.0.4", "db-0", True), ("10.244.0.5", None, True)
        ),
        build_slice("demo", "portless", [], ("10.244.0.6", None, True)),
        build_slice("demo", "asleep", POD_PORTS, ("10.244.0.7", None, False)),
    ],
    ["default", "demo", "kube-system"],
    serial=7,
)


def ask(name: str, kind: str) -> Answer:
    return ZONE.answer(name, getattr(QTYPE, kind))


def texts(records: list[Any]) -> list[str]:
    return [f"{record.rname} {QTYPE[record.rtype]} {record.rdata}" for record in records]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.demo.svc.cluster.local", "A", ["A 10.96.1.1"]),
        ("db.demo.svc.cluster.local", "A", ["A 10.244.0.4", "A 10.244.0.5"]),
        ("portless.demo.svc.cluster.local", "A", ["A 10.244.0.6"]),
        ("db-0.db.demo.svc.cluster.local", "A", ["A 10.244.0.4"]),
        ("10-244-0-5.db.demo.svc.cluster.local", "A", ["A 10.244.0.5"]),
        ("10-244-0-3.web.demo.svc.cluster.local", "A", ["A 10.244.0.3"]),
        ("1-2-3-4.demo.pod.cluster.local", "A", ["A 1.2.3.4"]),
        ("ns.dns.cluster.local", "A", ["A 10.96.0.10"]),
        ("dns-version.cluster.local", "TXT", ['TXT "1.1.0"']),
        (
            "_http._tcp.web.demo.svc.cluster.local",
            "SRV",
            ["SRV 0 100 80 web.demo.svc.cluster.local."],
        ),
        (
            "_dns._udp.web.demo.svc.cluster.local",
            "SRV",
            ["SRV 0 100 53 web.demo.svc.cluster.local."],
        ),
        (
            "web.demo.svc.cluster.local",
            "SRV",
            ["SRV 0 50 80 web.demo.svc.cluster.local.", "SRV 0 50 53 web.demo.svc.cluster.local."],
        ),
        ("noname.demo.svc.cluster.local", "SRV", ["SRV 0 100 80 noname.demo.svc.cluster.local."]),
        (
            "_http._tcp.db.demo.svc.cluster.local",
            "SRV",
            [
                "SRV 0 50 8080 db-0.db.demo.svc.cluster.local.",
                "SRV 0 50 8080 10-244-0-5.db.demo.svc.cluster.local.",
            ],
        ),
        ("1.1.96.10.in-addr.arpa", "PTR", ["PTR web.demo.svc.cluster.local."]),
        ("4.0.244.10.in-addr.arpa", "PTR", ["PTR db-0.db.demo.svc.cluster.local."]),
        ("3.0.244.10.in-addr.arpa", "PTR", ["PTR 10-244-0-3.web.demo.svc.cluster.local."]),
        ("outside.demo.svc.cluster.local", "A", ["CNAME www.example.com."]),
        ("inside.demo.svc.cluster.local", "CNAME", ["CNAME web.demo.svc.cluster.local."]),
        ("cluster.local", "NS", ["NS kube-dns.kube-system.svc.cluster.local."]),
    ],
)
def test_names_that_are_there(name: str, kind: str, expected: list[str]) -> None:
    answer = ask(name, kind)
    assert texts(answer.records) == [f"{name}. {each}" for each in expected]
    assert answer.rcode == RCODE.NOERROR
    assert answer.authoritative
    assert all(record.ttl == 30 for record in answer.records)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.demo.svc.cluster.local", "AAAA"),
        ("web.demo.svc.cluster.local", "ANY"),
        ("web.demo.svc.cluster.local", "TXT"),
        ("1-2-3-4.demo.pod.cluster.local", "AAAA"),
        ("inside.demo.svc.cluster.local", "AAAA"),
        ("demo.svc.cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("pod.cluster.local", "A"),
        ("cluster.local", "A"),
    ],
)
def test_names_without_such_data(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert answer.records == []
    assert answer.rcode == RCODE.NOERROR
    assert texts(answer.authority)[0].startswith("cluster.local. SOA ns.dns.cluster.local.")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("absent.demo.svc.cluster.local", "A"),
        ("web.nosuch.svc.cluster.local", "A"),
        ("nosuch.svc.cluster.local", "A"),
        ("asleep.demo.svc.cluster.local", "A"),
        ("db-9.db.demo.svc.cluster.local", "A"),
        ("_http._udp.web.demo.svc.cluster.local", "SRV"),
        ("_tcp.web.demo.svc.cluster.local", "SRV"),
        ("a.b.c.web.demo.svc.cluster.local", "A"),
        ("*.demo.svc.cluster.local", "A"),
        ("web.demo.other.cluster.local", "A"),
        ("numeric.demo.svc.cluster.local", "A"),
        ("x.outside.demo.svc.cluster.local", "A"),
        ("db-0.demo.pod.cluster.local", "A"),
        ("1-2-3-4.nosuch.pod.cluster.local", "A"),
    ],
)
def test_names_that_are_not_there(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert (answer.records, answer.rcode) == ([], RCODE.NXDOMAIN)
    assert len(answer.authority) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("example.com", "A"),
        ("web.demo", "A"),
        ("notcluster.local", "A"),
        ("9.9.9.9.in-addr.arpa", "PTR"),
        ("1.1.96.10.in-addr.arpa", "A"),
        ("", "NS"),
    ],
)
def test_names_of_others_fail(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert answer.rcode == RCODE.SERVFAIL
    assert not answer.authoritative


def test_an_alias_into_the_cluster_is_followed() -> None:
    assert texts(ask("inside.demo.svc.cluster.local", "A").records) == [
        "inside.demo.svc.cluster.local. CNAME web.demo.svc.cluster.local.",
        "web.demo.svc.cluster.local. A 10.96.1.1",
    ]


def test_additional_records_say_where_targets_are() -> None:
    answer = ask("_http._tcp.db.demo.svc.cluster.local", "SRV")
    assert texts(answer.additional) == [
        "db-0.db.demo.svc.cluster.local. A 10.244.0.4",
        "10-244-0-5.db.demo.svc.cluster.local. A 10.244.0.5",
    ]
    assert len(ask("web.demo.svc.cluster.local", "SRV").additional) == 1


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.1.in-addr.arpa", "1.2.3.4"),
        (".".join(reversed("20010db8" + 23 * "0" + "1")) + ".ip6.arpa", "2001:db8::1"),
        ("3.2.1.in-addr.arpa", ""),
        ("x.3.2.1.in-addr.arpa", ""),
        ("1.ip6.arpa", ""),
        ("example.com", ""),
    ],
)
def test_reverse_names(name: str, address: str) -> None:
    assert parse_reverse(name) == address
