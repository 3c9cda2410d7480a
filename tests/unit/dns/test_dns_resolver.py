"""From a query to its answer: memory, joined questions, Services made a moment ago."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from dnslib import EDNS0, QTYPE, RR, SOA, SRV, A, DNSRecord, EDNSOption
from nameservers import answer_known, answer_large, open_nameserver, question

from ktnet.dns import resolver as resolver_module
from ktnet.dns.messages import parse_query
from ktnet.dns.policy import build_policy
from ktnet.dns.resolver import Resolver
from ktnet.dns.upstream import Upstreams
from ktnet.errors import TunnelError
from ktnet.wire.service import Service

LOOPBACK = IPv4Address("127.0.0.1")
FULL = "late.demo.svc.cluster.local"


class Clock:
    """A clock that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(resolver_module, "monotonic", lambda: self.now_s)


class CoreDns:
    """Answers as CoreDNS with `cache 30`: what was denied stays denied, apart by the DO bit."""

    def __init__(self) -> None:
        self.asked: list[DNSRecord] = []
        self.addresses: dict[str, str] = {}
        self.gate: asyncio.Event | None = None
        self._denied: set[tuple[str, int, bool]] = set()

    async def ask(self, message: bytes) -> bytes:
        query = DNSRecord.parse(message)
        self.asked.append(query)
        if self.gate is not None:
            await self.gate.wait()
        reply = query.reply(ra=0)
        opts = [each for each in query.ar if each.rtype == QTYPE.OPT]
        key = (str(query.q.qname).lower(), query.q.qtype, bool(opts and opts[0].edns_do))
        address = self.addresses.get(key[0].rstrip("."))
        if address is None or key in self._denied:
            self._denied.add(key)
            reply.header.rcode = 3
        elif query.q.qtype == QTYPE.A:
            reply.add_answer(RR(key[0], QTYPE.A, ttl=30, rdata=A(address)))
        elif query.q.qtype == QTYPE.SRV:
            reply.add_answer(RR(key[0], QTYPE.SRV, ttl=30, rdata=SRV(0, 100, 80, key[0])))
            reply.add_ar(RR(key[0], QTYPE.A, ttl=30, rdata=A(address)))
        if not reply.rr:
            times = (1, 7200, 1800, 86400, 30)
            reply.add_auth(
                RR("cluster.local", QTYPE.SOA, ttl=30, rdata=SOA("ns.dns", "host", times))
            )
        if opts:
            reply.add_ar(EDNS0(udp_len=opts[0].edns_len, flags="do" if opts[0].edns_do else ""))
        return bytes(reply.pack())


class Scene:
    """A resolver before such a cluster; `services` is what the watch knows."""

    def __init__(self, upstream_port: int | None = None) -> None:
        self.cluster = CoreDns()
        self.services: dict[tuple[str, str], Service] = {}
        policy = build_policy(
            "cluster.local", [], lambda *key: self.services.get(key), search=["office.example"]
        )
        servers = [LOOPBACK] if upstream_port else []
        self.resolver = Resolver(
            policy, self.cluster.ask, Upstreams(servers, port=upstream_port or 53)
        )

    async def ask(self, message: bytes, *, over_tcp: bool = True) -> DNSRecord:
        wire = await self.resolver.resolve(parse_query(message), over_tcp=over_tcp)
        assert wire[:2] == message[:2]
        return DNSRecord.parse(wire)

    def add(self, name: str, address: str, *, headless: bool = False) -> None:
        """A Service is made: the watch knows at once, the cluster's DNS as well."""
        self.cluster.addresses[f"{name}.demo.svc.cluster.local"] = address
        known = () if headless else (IPv4Address(address),)
        self.services["demo", name] = Service(headless, known)


def with_edns(message: bytes, **options) -> bytes:
    query = DNSRecord.parse(message)
    query.add_ar(EDNS0(**options))
    return bytes(query.pack())


def addresses(answer: DNSRecord) -> list[str]:
    return [str(each.rdata) for each in answer.rr]


def opts(answer: DNSRecord) -> list[RR]:
    return [each for each in answer.ar if each.rtype == QTYPE.OPT]


def run(test: Callable) -> None:
    asyncio.run(test())


def test_ttl_of_a_remembered_answer_counts_down(monkeypatch) -> None:
    clock = Clock(monkeypatch)

    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        for age_s, ttl_s, asked in ((0, 30, 1), (2.5, 28, 1), (4.9, 26, 1), (5.0, 30, 2)):
            clock.now_s = 1000.0 + age_s
            answer = await scene.ask(question(FULL))
            assert (addresses(answer), answer.rr[0].ttl) == (["10.96.0.9"], ttl_s)
            assert len(scene.cluster.asked) == asked
        counters = scene.resolver.counters
        assert (counters.queries, counters.cluster, counters.cluster_cached) == (4, 4, 2)

    run(main)


def test_denials_are_remembered_too(monkeypatch) -> None:
    clock = Clock(monkeypatch)

    async def main() -> None:
        scene = Scene()
        for age_s, ttl_s in ((0, 30), (3, 27)):
            clock.now_s = 1000.0 + age_s
            answer = await scene.ask(question(FULL))
            assert (answer.header.rcode, answer.auth[0].ttl) == (3, ttl_s)
        assert len(scene.cluster.asked) == 1

    run(main)


def test_each_asker_gets_the_case_and_id_of_its_own() -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        for number, name in enumerate(
            ("late.demo.svc.cluster.local", "LaTe.Demo.svc.Cluster.LOCAL")
        ):
            query = question(name, id_=number)
            wire = await scene.resolver.resolve(parse_query(query), over_tcp=True)
            assert wire[:2] == query[:2]
            assert wire[12 : len(query)] == query[12:]
        assert len(scene.cluster.asked) == 1

    run(main)


def test_only_the_same_question_gets_the_same_answer() -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        plain = question(FULL)
        different = [
            plain,
            question(FULL, "AAAA"),
            with_edns(plain),
            with_edns(plain, flags="do"),
            plain[:2] + b"\0" + plain[3:],  # RD
            plain[:3] + b"\x10" + plain[4:],  # CD
            question("late.demo"),
        ]
        for message in different:
            before = len(scene.cluster.asked)
            first, second = await scene.ask(message), await scene.ask(message)
            assert len(scene.cluster.asked) == before + 1
            assert str(first) == str(second)
            assert len(opts(first)) == len(opts(DNSRecord.parse(message)))

    run(main)


def test_options_between_neighbours_go_no_further_and_others_are_no_ones_elses() -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        for cookie in (b"12345678", b"87654321"):
            await scene.ask(with_edns(question(FULL), opts=[EDNSOption(10, cookie)]))
        assert len(scene.cluster.asked) == 1
        assert opts(scene.cluster.asked[0])[0].rdata == []
        for _ in range(2):  # a client's subnet
            subnet = EDNSOption(8, b"\0\1\x18\0\xc0\0\2")
            await scene.ask(with_edns(question(FULL), opts=[subnet]))
        assert len(scene.cluster.asked) == 3
        assert opts(scene.cluster.asked[2])[0].rdata[0].code == 8

    run(main)


def test_signed_queries_pass_as_they_are() -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        message = bytearray(question(FULL))
        message[11] = 1
        message += b"\0" + (250).to_bytes(2, "big") + b"\0\xff" + bytes(4) + b"\0\4" + b"sign"
        for _ in range(2):
            await scene.resolver.resolve(parse_query(bytes(message)), over_tcp=True)
        assert len(scene.cluster.asked) == 2

    run(main)


def test_identical_questions_are_asked_once() -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        scene.cluster.gate = asyncio.Event()
        asking = [
            asyncio.ensure_future(scene.ask(question(FULL, id_=id_), over_tcp=bool(id_ % 2)))
            for id_ in range(20)
        ]
        await asyncio.sleep(0)
        scene.cluster.gate.set()
        for answer in await asyncio.gather(*asking):
            assert addresses(answer) == ["10.96.0.9"]
        assert len(scene.cluster.asked) == 1

    run(main)


def test_a_failure_is_not_remembered(monkeypatch) -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")

        async def broken(message: bytes) -> bytes:
            raise TunnelError("the tunnel is down")

        scene.resolver._ask_cluster = broken
        answers = await asyncio.gather(*(scene.ask(question(FULL)) for _ in range(3)))
        assert [answer.header.rcode for answer in answers] == [2, 2, 2]
        assert scene.resolver.counters.cluster_failures == 3
        scene.resolver._ask_cluster = scene.cluster.ask
        assert addresses(await scene.ask(question(FULL))) == ["10.96.0.9"]

    run(main)


def test_flushing_forgets_what_is_known_and_what_is_under_way() -> None:
    async def main() -> None:
        scene = Scene()
        scene.add("late", "10.96.0.9")
        await scene.ask(question(FULL))
        scene.cluster.gate = asyncio.Event()
        slow = asyncio.ensure_future(scene.ask(question(FULL, "AAAA")))
        await asyncio.sleep(0)
        scene.resolver.flush()
        scene.cluster.gate.set()
        await slow  # it still gets its answer, but nobody else will
        await scene.ask(question(FULL, "AAAA"))
        await scene.ask(question(FULL))
        assert len(scene.cluster.asked) == 4

    run(main)


def test_a_truncated_outside_answer_is_not_kept_but_the_whole_one_is() -> None:
    async def main() -> None:
        async with open_nameserver(answer_large) as office:
            scene = Scene(office.port)
            cut = await scene.ask(question("example.com"), over_tcp=False)
            assert (cut.header.tc, len(cut.rr)) == (1, 0)
            assert len((await scene.ask(question("example.com"))).rr) == 100
            asked = len(office.asked)
            kept = await scene.ask(question("example.com"), over_tcp=False)
            assert kept.header.tc == 1
            assert len(kept.rr) > 20
            assert len((await scene.ask(question("example.com"))).rr) == 100
            assert len(office.asked) == asked == 3
            assert scene.resolver.counters.outside_cached == 2

    run(main)


def test_an_outside_answer_tells_its_server() -> None:
    async def main() -> None:
        async with open_nameserver(answer_known) as office:
            scene = Scene(office.port)
            lookup = scene.resolver.start(parse_query(question("example.com")))
            assert scene.resolver.recall(lookup) is None
            assert (await scene.resolver.ask(lookup, over_tcp=False)).server == "127.0.0.1"
            recalled = scene.resolver.recall(lookup)
            assert recalled is not None
            assert recalled.server == "127.0.0.1"

    run(main)


@pytest.mark.parametrize("name", [FULL, "late.demo", "late.demo.svc", "LATE.demo"])
@pytest.mark.parametrize("edns", [False, True])
def test_a_service_made_a_moment_ago_resolves_at_once(name: str, edns: bool) -> None:
    """In spite of what the cluster's DNS and we ourselves remember."""

    async def main() -> None:
        scene = Scene()
        message = with_edns(question(name)) if edns else question(name)
        denied = await scene.ask(question(FULL))
        assert denied.header.rcode == 3
        scene.add("late", "10.96.0.9")
        answer = await scene.ask(message)
        assert (answer.header.rcode, addresses(answer)) == (0, ["10.96.0.9"])
        assert answer.q == DNSRecord.parse(message).q
        assert [each.edns_do for each in opts(answer)] == ([0] if edns else [])
        asked = len(scene.cluster.asked)
        assert addresses(await scene.ask(message)) == ["10.96.0.9"]
        assert len(scene.cluster.asked) == asked  # and is remembered

    run(main)


def test_a_headless_service_made_a_moment_ago_resolves_at_once() -> None:
    async def main() -> None:
        scene = Scene()
        for qtype in ("A", "SRV"):
            assert (await scene.ask(question(FULL, qtype))).header.rcode == 3
        scene.add("late", "10.244.0.9", headless=True)
        assert addresses(await scene.ask(question(FULL))) == ["10.244.0.9"]
        answer = await scene.ask(question(FULL, "SRV"))
        assert (len(answer.rr), str(answer.ar[0].rdata)) == (1, "10.244.0.9")

    run(main)


def test_the_addresses_of_a_service_are_those_that_the_watch_knows() -> None:
    """Our watch may be ahead of CoreDNS's own."""

    async def main() -> None:
        scene = Scene()
        known = (IPv4Address("10.96.0.9"), IPv6Address("fd00::9"))
        scene.services["demo", "late"] = Service(False, known)
        for edns in (False, True):
            for qtype, expected in (("A", ["10.96.0.9"]), ("AAAA", ["fd00::9"])):
                message = question("late.demo", qtype)
                answer = await scene.ask(with_edns(message) if edns else message)
                assert (answer.header.rcode, addresses(answer)) == (0, expected)
                assert (answer.rr[0].ttl, answer.header.aa) == (5, 1)
                assert str(answer.rr[0].rname) == "late.demo."
                assert len(opts(answer)) == int(edns)
        scene.services["demo", "late"] = Service(False, known[:1])
        scene.resolver.flush()
        nodata = await scene.ask(question(FULL, "AAAA"))
        assert (nodata.header.rcode, nodata.rr) == (0, [])
        # Of its ports we know nothing.
        assert (await scene.ask(question(FULL, "SRV"))).header.rcode == 3

    run(main)


def test_a_headless_service_without_endpoints_stays_denied_but_is_asked_for_anew() -> None:
    async def main() -> None:
        scene = Scene()
        scene.services["demo", "late"] = Service(headless=True, addresses=())
        for _ in range(2):
            assert (await scene.ask(question(FULL))).header.rcode == 3
        assert len(scene.cluster.asked) == 4

    run(main)


def test_a_service_that_is_gone_is_not_made_up() -> None:
    async def main() -> None:
        scene = Scene()
        assert (await scene.ask(question(FULL))).header.rcode == 3
        assert (await scene.ask(question(FULL))).header.rcode == 3
        assert len(scene.cluster.asked) == 1

    run(main)


def test_the_second_question_shares_the_time_of_the_first(monkeypatch) -> None:
    monkeypatch.setattr(resolver_module, "CLUSTER_TIME_S", 0.2)

    async def main() -> None:
        scene = Scene()
        scene.services["demo", "late"] = Service(False, (IPv4Address("10.96.0.9"),))

        async def silent_on_do(message: bytes) -> bytes:
            if DNSRecord.parse(message).ar:
                await asyncio.Event().wait()
            return await scene.cluster.ask(message)

        scene.resolver._ask_cluster = silent_on_do
        assert addresses(await scene.ask(question(FULL))) == ["10.96.0.9"]
        assert (await scene.ask(question(FULL, "SRV"))).header.rcode == 2

    run(main)


def test_what_is_nobodys_business_is_denied_without_asking() -> None:
    async def main() -> None:
        async with open_nameserver(answer_known) as office:
            scene = Scene(office.port)
            answer = await scene.ask(question(f"{FULL}.office.example"))
            assert (answer.header.rcode, answer.rr, answer.auth) == (3, [], [])
            assert (office.asked, scene.cluster.asked) == ([], [])
            counters = scene.resolver.counters
            assert (counters.queries, counters.refused) == (1, 1)

    run(main)
