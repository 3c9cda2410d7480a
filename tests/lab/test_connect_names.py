"""Names of a connected laptop, through the whole path, beside what a pod gets to hear."""

import json
import os
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from connect_client import open_connection, wait_until
from dnslib import EDNS0, DNSRecord
from forked_command import ask_command
from name_scene import (
    API_SERVER,
    OFFICE_DNS,
    addresses_of,
    api,
    ask_all,
    ask_asker,
    ask_proxy,
    ask_timed,
    cut,
    describe,
    find_nameserver,
    list_names,
    make_service,
    pid_of_laptop,
    pid_of_node,
    question,
    start_asker,
)

from ktnet.lab.harness import KTNET, Connection, Lab, open_lab

pytestmark = pytest.mark.lab

SOAK = "KTNET_SOAK" in os.environ
QUERIES = 1_000_000 if SOAK else 20_000
INCLUDED, EXCLUDED = "corp.example", "printer.office.example"
MANY = [f"10.9.{number // 250}.{number % 250 + 1}" for number in range(100)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"names-{os.getpid()}") as lab:
        make_service(lab, "many", addresses=MANY)
        make_service(lab, "dual", addresses=["10.9.0.1", "10.9.0.2"])
        make_service(
            lab, "inside", type="ExternalName", externalName="tomcat.demo.svc.cluster.local"
        )
        make_service(lab, "outside", type="ExternalName", externalName="www.example.com")
        yield lab


@pytest.fixture(scope="module")
def connection(lab: Lab) -> Iterator[Connection]:
    options = ("--dns-include", INCLUDED, "--dns-exclude", EXCLUDED)
    with open_connection(lab, *options) as connection:
        yield connection


@pytest.fixture(scope="module")
def asker(lab: Lab, connection: Connection) -> str:
    return start_asker(lab)


def counters(lab: Lab) -> dict[str, int]:
    (session,) = json.loads(ask_command(lab, "status", "-o", "json"))["sessions"]
    return dict(session["dns"])


CLUSTER_NAMES = [
    ("tomcat.demo.svc.cluster.local", "A"),
    ("tomcat.demo.svc.cluster.local", "AAAA"),
    ("tomcat.demo.svc.cluster.local", "HTTPS"),
    ("tomcat.demo.svc.cluster.local", "TXT"),
    ("tomcat.demo.svc.cluster.local", "SRV"),
    ("tomcat.demo.svc.cluster.local", "ANY"),
    ("ToMcAt.DEMO.svc.cluster.LOCAL", "A"),
    ("_http._tcp.tomcat.demo.svc.cluster.local", "SRV"),
    ("_nosuch._tcp.tomcat.demo.svc.cluster.local", "SRV"),
    ("db.demo.svc.cluster.local", "A"),
    ("db.demo.svc.cluster.local", "SRV"),
    ("db-0.db.demo.svc.cluster.local", "A"),
    ("db-9.db.demo.svc.cluster.local", "A"),
    ("dual.demo.svc.cluster.local", "A"),
    ("many.demo.svc.cluster.local", "A"),
    ("_http._tcp.many.demo.svc.cluster.local", "SRV"),
    ("inside.demo.svc.cluster.local", "A"),
    ("inside.demo.svc.cluster.local", "CNAME"),
    ("outside.demo.svc.cluster.local", "A"),
    ("absent.demo.svc.cluster.local", "A"),
    ("absent.nowhere.svc.cluster.local", "AAAA"),
    ("demo.svc.cluster.local", "A"),
    ("cluster.local", "SOA"),
    ("cluster.local", "NS"),
    ("dns-version.cluster.local", "TXT"),
    ("10-244-0-9.demo.pod.cluster.local", "A"),
    ("1.0.96.10.in-addr.arpa", "PTR"),
    ("10.0.96.10.in-addr.arpa", "PTR"),
    ("250.0.244.10.in-addr.arpa", "PTR"),
    ("host.corp.example", "A"),
]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("edns", [None, 1232, 4096])
def test_each_type_is_answered_as_to_a_pod(
    lab: Lab, asker: str, transport: str, edns: int | None
) -> None:
    messages = []
    for name, qtype in CLUSTER_NAMES:
        query = DNSRecord.question(name, qtype)
        if edns is not None:
            query.add_ar(EDNS0(udp_len=edns))
        messages.append((bytes(query.pack()), transport))
    ours = lab.call(ask_all, messages)
    again = lab.call(ask_all, messages)
    theirs = lab.call(ask_asker, asker, messages)
    for (name, qtype), *wires in zip(CLUSTER_NAMES, ours, again, theirs, strict=True):
        first, second, expected = (describe(wire) for wire in wires)
        if expected["flags"][2]:
            # Where it is cut off is everybody's own; but it is, in both, and within the limit.
            assert all(len(wire) <= (edns or 512) for wire in wires)
            assert first["flags"] == second["flags"] == expected["flags"], name
            continue
        assert first == expected, (name, qtype)
        assert second == expected, (name, qtype)


def test_ttls_count_down_as_the_clusters_do(lab: Lab, asker: str) -> None:
    message = (question("web.demo.svc.cluster.local"), "udp")
    lab.call(ask_all, [message])
    time.sleep(2)
    # Theirs before and after: on a busy machine seconds pass between two questions.
    (before,) = lab.call(ask_asker, asker, [message])
    (ours,) = lab.call(ask_all, [message])
    (after,) = lab.call(ask_asker, asker, [message])
    most_s, ttl_s, least_s = (DNSRecord.parse(wire).rr[0].ttl for wire in (before, ours, after))
    assert least_s <= ttl_s <= most_s + 1
    assert ttl_s <= 28


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("tomcat.demo", "tomcat.demo.svc.cluster.local"),
        ("Tomcat.Demo.svc", "tomcat.demo.svc.cluster.local"),
        ("db-0.db.demo", "db-0.db.demo.svc.cluster.local"),
        ("many.demo", "many.demo.svc.cluster.local"),
        ("inside.demo", "inside.demo.svc.cluster.local"),
    ],
)
def test_short_names_have_the_same_addresses(lab: Lab, asker: str, short: str, full: str) -> None:
    (ours,) = lab.call(ask_all, [(question(short), "tcp")])
    (theirs,) = lab.call(ask_asker, asker, [(question(full), "tcp")])
    assert addresses_of(ours) == addresses_of(theirs) != []
    assert str(DNSRecord.parse(ours).q.qname) == short + "."


def look_up(*names: str) -> list[list[str] | int]:
    """What getaddrinfo says to each: addresses, or the error."""
    found: list[list[str] | int] = []
    for name in names:
        try:
            answer = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            found.append(int(error.errno or 0))
        else:
            found.append(sorted({str(address[0]) for *_, address in answer}))
    return found


def test_getaddrinfo(lab: Lab, connection: Connection) -> None:
    names = ("tomcat", "tomcat.demo", "db-1.db.demo", "many", "intranet", "foo.io", "absent.demo")
    tomcat = [lab.census()["tomcat"]["clusterIP"]]
    db_1 = api(lab, "GET", "/api/v1/namespaces/demo/pods/db-1")["status"]["podIP"]
    assert lab.call(look_up, *names) == [
        tomcat,
        tomcat,
        [db_1],
        sorted(MANY),
        ["192.168.64.80"],
        ["203.0.113.20"],
        socket.EAI_NONAME,
    ]


@pytest.mark.parametrize("tool", ["dig", "kdig"])
@pytest.mark.parametrize("options", [(), ("+tcp",), ("+noedns",), ("+dnssec",)])
def test_tools_that_administrators_use(
    lab: Lab, connection: Connection, tool: str, options: tuple[str, ...]
) -> None:
    expected = lab.census()["tomcat"]["clusterIP"]
    for _ in range(2):
        found = lab.run(tool, "+short", *options, "tomcat.demo.svc.cluster.local", "A")
        assert found.split() == [expected]
    assert len(lab.run(tool, "+short", *options, "many.demo", "A").split()) == 100
    said = lab.run(tool, *options, "absent.demo.svc.cluster.local", "A")
    assert "NXDOMAIN" in said
    # dig says this of each name under .local, and of each answer of CoreDNS for its own zone.
    for expected in (
        ";; WARNING: .local is reserved for Multicast DNS",
        ";; WARNING: recursion requested but not available",
    ):
        said = said.replace(expected, "")
    assert "WARNING" not in said.upper()
    assert "foo.io" in lab.run(tool, *options, "foo.io", "A")


def ask_in_parallel(name: str, sockets: int) -> set[tuple[int, int, tuple[str, ...]]]:
    """A and AAAA at once, from one socket or two: (id, type, addresses) of what comes back."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        asking = [one, two][:sockets]
        for each in asking:
            each.settimeout(5)
        server = (find_nameserver(), 53)
        asking[0].sendto(question(name, "A", 1), server)
        asking[-1].sendto(question(name, "AAAA", 2), server)
        answers = [asking[0].recvfrom(4096), asking[-1].recvfrom(4096)]
    assert {source for _, source in answers} == {server}
    parsed = [DNSRecord.parse(wire) for wire, _ in answers]
    return {(p.header.id, p.q.qtype, tuple(str(each.rdata) for each in p.rr)) for p in parsed}


@pytest.mark.parametrize("sockets", [1, 2])
def test_both_families_at_once(lab: Lab, connection: Connection, sockets: int) -> None:
    """As glibc and musl (one socket) and Go (two) ask."""
    expected = lab.census()["tomcat"]["clusterIP"]
    for name in ("tomcat.demo", "tomcat.demo.svc.cluster.local"):
        found = lab.call(ask_in_parallel, name, sockets)
        assert found == {(1, 1, (expected,)), (2, 28, ())}


def ask_all_servers(name: str) -> dict[int, tuple[str, ...]]:
    """As musl: A and AAAA, to all nameservers at once, from one socket; the first answer counts."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    first: dict[int, tuple[str, ...]] = {}
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        for server in servers:
            asking.sendto(question(name, "A", 1), (server, 53))
            asking.sendto(question(name, "AAAA", 2), (server, 53))
        while len(first) < 2:
            answer = DNSRecord.parse(asking.recv(4096))
            assert answer.header.rcode == 0
            first.setdefault(answer.q.qtype, tuple(str(each.rdata) for each in answer.rr))
    return first


def test_who_asks_all_servers_at_once_hears_no_other_ones(lab: Lab, connection: Connection) -> None:
    office = len(list_names(lab, "office"))
    expected = lab.census()["tomcat"]["clusterIP"]
    assert lab.call(ask_all_servers, "tomcat.demo") == {1: (expected,), 28: ()}
    assert list_names(lab, "office")[office:] == []
    assert lab.call(ask_all_servers, "foo.io") == {1: ("203.0.113.20",), 28: ()}


def scale(lab: Lab, name: str, replicas: int) -> None:
    path = f"/apis/apps/v1/namespaces/demo/deployments/{name}"
    api(lab, "PATCH", path, {"spec": {"replicas": replicas}})
    deadline_s = time.monotonic() + 30
    while api(lab, "GET", path)["status"].get("readyReplicas", 0) != replicas:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def wait_for_cluster_dns(lab: Lab, is_told: Callable[[], bool]) -> None:
    """Until the cluster's own DNS tells what it is to tell, which is a moment after the API knows.

    What it told before it would tell for its 30 s, so it is made to forget that each time.
    """

    def is_told_anew() -> bool:
        lab.fault("dns-forget")
        return is_told()

    wait_until(is_told_anew)


def is_told_to_pods(lab: Lab, asker: str, name: str, expected: list[str]) -> bool:
    return addresses_of(lab.call(ask_asker, asker, [(question(name), "udp")])[0]) == expected


def test_a_headless_service_follows_the_scaling(lab: Lab, asker: str) -> None:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    spec = {"selector": {"app": "tomcat"}, "clusterIP": "None", "ports": ports}
    for number in (1, 3):
        # A name of its own each time: what was told of one is told to pods for 30 s too.
        make_service(lab, f"headless{number}", **spec)
        scale(lab, "tomcat", number)
        selector = "/api/v1/namespaces/demo/pods?labelSelector=app%3Dtomcat"
        pods = sorted(each["status"]["podIP"] for each in api(lab, "GET", selector)["items"])
        assert len(pods) == number
        name = f"headless{number}.demo"
        whole_name = f"{name}.svc.cluster.local"
        wait_for_cluster_dns(lab, partial(is_told_to_pods, lab, asker, whole_name, pods))
        deadline_s = time.monotonic() + 10
        while (found := addresses_of(lab.call(ask_proxy, question(name)))) != pods:
            assert time.monotonic() < deadline_s, (name, found, pods)
            time.sleep(0.1)
        (theirs,) = lab.call(
            ask_asker, asker, [(question(f"{name}.svc.cluster.local", "SRV"), "udp")]
        )
        (ours,) = lab.call(ask_all, [(question(f"{name}.svc.cluster.local", "SRV"), "udp")])
        assert describe(ours) == describe(theirs)
        assert len(DNSRecord.parse(ours).rr) == number
    scale(lab, "tomcat", 1)


def wait_for_addresses(name: str, expected: list[str]) -> None:
    """Asks the proxy all the time, until it has just these."""
    start_s = time.monotonic()
    while addresses_of(ask_proxy(question(name))) != expected:
        assert time.monotonic() - start_s < 30, "longer than the cluster's own TTL"
        time.sleep(0.1)


def test_a_name_that_was_asked_before_follows_the_scaling(lab: Lab, asker: str) -> None:
    """As soon as the cluster's own DNS knows, but for the five seconds that we remember."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    spec = {"selector": {"app": "tomcat"}, "clusterIP": "None", "ports": ports}
    scale(lab, "tomcat", 1)
    make_service(lab, "scaled", **spec)
    name = "scaled.demo.svc.cluster.local"

    def pods() -> list[str]:
        selector = "/api/v1/namespaces/demo/pods?labelSelector=app%3Dtomcat"
        listed = api(lab, "GET", selector)["items"]
        staying = [each for each in listed if "deletionTimestamp" not in each["metadata"]]
        return sorted(each["status"]["podIP"] for each in staying)

    wait_for_cluster_dns(lab, lambda: is_told_to_pods(lab, asker, name, pods()))
    lab.call(wait_for_addresses, name, pods())
    scale(lab, "tomcat", 3)
    # A pod is told of one address for up to 30 s; then, or when CoreDNS is new, of all.
    message = (question(name), "udp")
    assert len(addresses_of(lab.call(ask_asker, asker, [message])[0])) == 1
    wait_for_cluster_dns(lab, lambda: is_told_to_pods(lab, asker, name, pods()))
    lab.call(wait_for_addresses, name, pods())
    assert len(pods()) == 3
    (theirs,) = lab.call(ask_asker, asker, [message])
    assert addresses_of(theirs) == pods()
    scale(lab, "tomcat", 1)


def wait_for_address(name: str, timeout_s: float) -> tuple[float, list[str]]:
    """Asks until there is an address: after how long, and which."""
    start_s = time.monotonic()
    while time.monotonic() - start_s < timeout_s:
        if found := addresses_of(ask_proxy(question(name))):
            return time.monotonic() - start_s, found
        time.sleep(0.02)
    return float("inf"), []


def test_a_service_made_a_moment_ago_resolves_at_once(lab: Lab, asker: str) -> None:
    """Its name was asked for before, so the cluster's DNS denies it to pods for 30 s."""
    full = "late.demo.svc.cluster.local"
    for name in (full, "late.demo"):
        assert DNSRecord.parse(lab.call(ask_proxy, question(name))).header.rcode == 3
    make_service(lab, "late")
    expected = [api(lab, "GET", "/api/v1/namespaces/demo/services/late")["spec"]["clusterIP"]]
    took_s, found = lab.call(wait_for_address, "late.demo", 10.0)
    assert found == expected
    assert took_s < 1.0
    assert lab.call(look_up, "late", "late.demo", full) == [expected] * 3
    # This is what made it necessary.
    (theirs,) = lab.call(ask_asker, asker, [(question(full), "udp")])
    assert DNSRecord.parse(theirs).header.rcode == 3


def test_a_headless_service_made_a_moment_ago_resolves_too(lab: Lab, asker: str) -> None:
    for qtype in ("A", "SRV"):
        wire = lab.call(ask_proxy, question("late2.demo.svc.cluster.local", qtype))
        assert DNSRecord.parse(wire).header.rcode == 3
    make_service(lab, "late2", addresses=["10.9.1.1", "10.9.1.2"])
    # The node hears of endpoints 200 ms later.
    time.sleep(0.5)
    took_s, found = lab.call(wait_for_address, "late2.demo", 10.0)
    assert found == ["10.9.1.1", "10.9.1.2"]
    assert took_s < 1.0
    wire = lab.call(ask_proxy, question("late2.demo.svc.cluster.local", "SRV"))
    assert len(DNSRecord.parse(wire).rr) == 2
    (theirs,) = lab.call(ask_asker, asker, [(question("late2.demo.svc.cluster.local"), "udp")])
    assert DNSRecord.parse(theirs).header.rcode == 3


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="the cluster's DNS remembers for 30 s")
def test_endpoints_that_come_later_show_as_soon_as_in_a_pod(lab: Lab, asker: str) -> None:
    make_service(lab, "growing", addresses=["10.9.2.1"])
    time.sleep(0.5)
    message = [(question("growing.demo.svc.cluster.local"), "udp")]
    assert addresses_of(lab.call(ask_all, message)[0]) == ["10.9.2.1"]
    more = [{"addresses": [f"10.9.2.{n}"], "conditions": {"ready": True}} for n in (1, 2)]
    path = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices/growing-own"
    api(lab, "PATCH", path, {"endpoints": more})
    expected = ["10.9.2.1", "10.9.2.2"]
    deadline_s = time.monotonic() + 45
    while addresses_of(lab.call(ask_asker, asker, message)[0]) != expected:
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    seen_s = time.monotonic()
    while addresses_of(lab.call(ask_all, message)[0]) != expected:
        assert time.monotonic() < seen_s + 6
        time.sleep(0.1)


def test_no_name_leaks_to_where_it_does_not_belong(lab: Lab, connection: Connection) -> None:
    office, cluster = len(list_names(lab, "office")), len(list_names(lab, "cluster"))
    inside = [
        "tomcat",
        "tomcat.demo",
        "db-2.db.demo",
        "web.demo.svc",
        "absent.demo.svc.cluster.local",
    ]
    outside = ["example.com", "foo.io", "tomcat.io", "intranet", "www.example.com"]
    lab.call(look_up, *inside)
    lab.call(
        ask_all,
        [(question(f"x.{INCLUDED}"), "udp"), (question("1.0.96.10.in-addr.arpa", "PTR"), "udp")],
    )
    assert list_names(lab, "office")[office:] == []
    asked = list_names(lab, "cluster")[cluster:]
    assert asked
    cluster += len(asked)
    lab.call(look_up, *outside)
    lab.call(
        ask_all,
        [(question(f"{EXCLUDED}"), "udp"), (question("1.64.168.192.in-addr.arpa", "PTR"), "udp")],
    )
    asked = list_names(lab, "office")[office:]
    # Others may be remembered by now.
    assert {"example.com", "tomcat.io", "www.example.com", EXCLUDED} <= set(asked)
    assert not [name for name in asked if "demo" in name or "cluster" in name]
    # A name without a dot is tried in the search domains first, as in a pod; others aren't.
    assert {name.split(".")[0] for name in list_names(lab, "cluster")[cluster:]} <= {"intranet"}


def test_outside_names_answer_while_the_tunnel_is_cut(lab: Lab, connection: Connection) -> None:
    with cut(
        pid_of_laptop(lab),
        f"add rule inet cut out ip daddr {API_SERVER} tcp dport 6443 drop",
        f"add rule inet cut in ip saddr {API_SERVER} tcp sport 6443 drop",
    ):
        waiting = threading.Thread(
            target=lab.call, args=(ask_proxy, question("cut0.demo.svc.cluster.local"))
        )
        waiting.start()
        for number in range(3):
            wire, took_s = lab.call(ask_timed, question(f"host{number}.office.example"))
            assert DNSRecord.parse(wire).header.rcode == 3
            assert took_s < 0.5
        assert lab.call(look_up, "intranet.office.example") == [["192.168.64.80"]]
        query = DNSRecord.question("cut1.demo.svc.cluster.local")
        query.add_ar(EDNS0(udp_len=1232))
        wire, took_s = lab.call(ask_timed, bytes(query.pack()))
        answer = DNSRecord.parse(wire)
        assert answer.header.rcode == 2
        assert b"no answer from the cluster" in answer.ar[0].rdata[0].data
        assert 1.9 < took_s < 2.5
        waiting.join()
    took_s, found = lab.call(wait_for_address, "db.demo.svc.cluster.local", 10.0)
    assert found
    assert took_s < 5.0


def test_a_dead_cluster_resolver_is_servfail_in_two_seconds(
    lab: Lab, connection: Connection
) -> None:
    with cut(pid_of_node(lab), "add rule inet cut in udp dport 53 ip daddr 10.244.0.2 drop"):
        wires = []
        for number in range(2):
            wire, took_s = lab.call(ask_timed, question(f"dead{number}.demo.svc.cluster.local"))
            assert DNSRecord.parse(wire).header.rcode == 2
            assert took_s < 2.3
            wires.append(wire)
        wire, took_s = lab.call(ask_timed, question("alive.office.example"))
        assert DNSRecord.parse(wire).header.rcode == 3
        assert took_s < 0.5
    assert lab.call(wait_for_address, "web.demo.svc.cluster.local", 5.0)[1]


def throw_garbage(count: int, seed: int) -> tuple[int, int]:
    """Damaged queries at the proxy: octets sent to it and octets that came back."""
    source = random.Random(seed)
    whole = question("tomcat.demo.svc.cluster.local")
    sent = received = 0
    server = (find_nameserver(), 53)
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        asking.connect(server)
        for _ in range(count):
            message = bytearray(whole)
            for _ in range(source.randrange(1, 6)):
                message[source.randrange(len(message))] = source.randrange(256)
            message = message[: source.randrange(6, len(message) + 1)]
            message[2] &= 0x7F  # or nobody would answer
            # Not so that it is a sound question, whose answer may be longer.
            message[4:6] = b"\0\0"
            asking.send(message)
            sent += len(message)
            with suppress(TimeoutError):
                received += len(asking.recv(65535)) if len(message) >= 12 else 0
    with socket.create_connection(server, 5) as asking:
        asking.sendall(source.randbytes(2000))
        asking.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while part := asking.recv(4096):
                received += len(part)
    return sent, received


def test_garbage_crashes_nothing_and_is_not_amplified(lab: Lab, connection: Connection) -> None:
    sent, received = lab.call(throw_garbage, 500, 13)
    assert 0 < received <= sent
    assert counters(lab)["malformed"] >= 500
    assert lab.call(look_up, "tomcat.demo")[0]
    assert connection.process.poll() is None


def test_ktnet_dns_tells_how_a_name_is_decided(lab: Lab, connection: Connection) -> None:
    told = json.loads(ask_command(lab, "dns", "-o", "json", "tomcat.demo"))
    assert (told["zone"], told["policy"]) == ("cluster", "there is such a Service")
    assert told["asked"] == "tomcat.demo.svc.cluster.local."
    assert told["answer"][0]["data"] == lab.census()["tomcat"]["clusterIP"]
    assert 0 < told["answer"][0]["ttl"] <= 30
    told = json.loads(ask_command(lab, "dns", "-o", "json", "foo.io"))
    assert (told["zone"], told["server"], told["rcode"]) == ("outside", OFFICE_DNS, "NOERROR")
    assert [each["data"] for each in told["answer"]] == ["203.0.113.20"]
    told = json.loads(ask_command(lab, "dns", "-o", "json", "_http._tcp.tomcat.demo", "srv"))
    assert told["answer"][0]["data"] == "0 100 80 tomcat.demo.svc.cluster.local."
    shown = ask_command(lab, "dns", EXCLUDED)
    assert "outside: --dns-exclude" in shown
    assert "192.168.64.81" in shown
    refused = subprocess.run(
        lab.exec(*KTNET, "dns", "a..b"), capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stdout) == (2, "")


def test_status_counts_by_zone(lab: Lab, connection: Connection) -> None:
    before = counters(lab)
    name = question("status.demo.svc.cluster.local")
    lab.call(ask_all, [(name, "udp")] * 5 + [(question("status.office.example"), "tcp")] * 2)
    after = counters(lab)
    grown = {key: after[key] - before[key] for key in after}
    assert (grown["queries"], grown["cluster"], grown["outside"]) == (7, 5, 2)
    assert (grown["cluster_cached"], grown["outside_cached"]) == (4, 1)
    assert (grown["cluster_failures"], grown["outside_failures"], grown["malformed"]) == (0, 0, 0)
    assert f"{after['queries']} queries; cluster {after['cluster']}" in ask_command(lab, "status")


def ask_many(count: int, start: int) -> int:
    """So many queries, one in twenty for a name that is new; how many were answered."""
    answered = 0
    at_once = 32
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.connect((find_nameserver(), 53))
        for first in range(start, start + count, at_once):
            for number in range(first, first + at_once):
                label = f"n{number}" if number % 20 == 0 else f"old{number % 7}"
                asking.send(question_bytes(label.encode(), number & 0xFFFF))
            for _ in range(at_once):
                answered += len(asking.recv(4096)) > 12
    return answered


def question_bytes(label: bytes, id_: int) -> bytes:
    """As `question`, without what dnslib takes to build one."""
    name = b"".join(
        bytes((len(each),)) + each for each in (label, b"demo", b"svc", b"cluster", b"local")
    )
    return struct.pack("!6H", id_, 0x0100, 1, 0, 0, 0) + name + b"\0" + struct.pack("!2H", 1, 1)


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.timeout(3600 if SOAK else 120)
def test_memory_does_not_grow_with_the_queries(lab: Lab, connection: Connection) -> None:
    # First fill the memory that is meant to be used: 4,096 answers.
    warm = 4096 * 20 if SOAK else QUERIES // 2
    assert lab.call(ask_many, warm, 0) >= warm
    before_mb = resident_mb(connection.pid)
    assert lab.call(ask_many, QUERIES, warm) >= QUERIES
    assert resident_mb(connection.pid) - before_mb < 5
