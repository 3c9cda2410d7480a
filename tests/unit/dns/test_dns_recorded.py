"""Wire answers of a real CoreDNS, passed through the proxy: they arrive as the server said."""

import asyncio
import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from dnslib import QTYPE, DNSRecord
from nameservers import ask_tcp, ask_udp, open_test_proxy

from ktnet.dns import resolver as resolver_module
from ktnet.dns.policy import build_policy
from ktnet.wire.dnsmessage import build_with_id
from ktnet.wire.service import Service

RECORDED = json.loads((Path(__file__).parent / "coredns_answers.json").read_text())["cases"]
SERVICE = Service(headless=True, addresses=())
KNOWN = {"dns", "dnsh", "sts", "ext", "big"}
POLICY = build_policy(
    "cluster.local",
    [IPv4Network("10.96.0.0/16"), IPv4Network("10.244.0.0/16")],
    lambda namespace, name: SERVICE if namespace == "transcripts" and name in KNOWN else None,
    include=["com", "version.bind"],
)
KNOWN_BUT_DENIED = {"srv-wrong-proto", "srv-no-such-port"}
"""The Service is there, so the proxy asks past a denial that may be an old one; each time anew."""

NO_LIFETIME = {"ptr-unknown", "outside", "class-chaos-version", "externalname-outside"}
"""Failures, and an alias that doesn't say for how long its target has no address."""

MALFORMED = {"malformed", "opcode-status", "two-questions"}
SHORT = {"short-name", "short-svc"}
INSIDE = sorted(
    case
    for case, each in RECORDED.items()
    # Truncated answers never come through the tunnel: the shadow asks again over TCP.
    if case not in MALFORMED | SHORT and not bytes.fromhex(each["answer"])[2] & 2
)


class CoreDns:
    """Answers a recorded question as it was answered then."""

    def __init__(self, case: str) -> None:
        self.asked = 0
        self._query = bytes.fromhex(RECORDED[case]["query"])
        self._answer = bytes.fromhex(RECORDED[case]["answer"])

    async def ask(self, message: bytes) -> bytes:
        self.asked += 1
        answer = self._answer
        if message[2:] != self._query[2:]:  # asked past a denial: denied again
            reply = DNSRecord.parse(message).reply(ra=0)
            reply.header.rcode = 3
            answer = bytes(reply.pack())
        return build_with_id(answer, int.from_bytes(message[:2], "big"))


@pytest.mark.parametrize("case", INSIDE)
def test_answer_is_passed_as_it_came_and_again_from_memory(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "monotonic", lambda: 100.0)

    async def main() -> None:
        cluster = CoreDns(case)
        query, answer = (bytes.fromhex(RECORDED[case][each]) for each in ("query", "answer"))
        async with open_test_proxy(policy=POLICY, ask_cluster=cluster.ask) as (proxy, address):
            assert await ask_tcp(address, query) == [answer]
            other_id = build_with_id(query, 0x4321)
            if len(answer) <= 512:
                assert await ask_udp(address, other_id) == build_with_id(answer, 0x4321)
            else:
                assert await ask_tcp(address, other_id) == [build_with_id(answer, 0x4321)]
            cached = 0 if case in KNOWN_BUT_DENIED | NO_LIFETIME else 1
            assert proxy.counters.cluster_cached == cached
            assert cluster.asked == (2 - cached) * (2 if case in KNOWN_BUT_DENIED else 1)

    asyncio.run(main())


@pytest.mark.parametrize(
    "case",
    [
        "service-a",
        "service-aaaa-nodata",
        "service-uppercase",
        "headless-a",
        "headless-srv",
        "statefulset-pod-a",
        "statefulset-srv",
        "srv-service-name",
        "externalname-in-cluster",
        "externalname-cname",
        "edns-1232",
        "big-tcp",
    ],
)
def test_short_name_gets_the_same_records(case: str) -> None:
    """All of the full name's answer, under the name that was asked."""

    async def main() -> None:
        cluster = CoreDns(case)
        full = DNSRecord.parse(bytes.fromhex(RECORDED[case]["query"]))
        answer = DNSRecord.parse(bytes.fromhex(RECORDED[case]["answer"]))
        labels = full.q.qname.label
        short = DNSRecord.parse(full.pack())
        short.q.qname = ".".join(label.decode() for label in labels[:-3])

        def text(record: DNSRecord) -> list[tuple[str, int, int, str]]:
            return [
                (str(each.rname).lower(), each.rtype, each.ttl, str(each.rdata))
                for each in (*record.rr, *record.auth, *record.ar)
                if each.rtype != QTYPE.OPT
            ]

        def shorten(name: str) -> str:
            whole = str(full.q.qname).lower()
            return str(short.q.qname).lower() if name == whole else name

        # The proxy completes a name with its own suffix, in its own case.
        async def ask_recorded(message: bytes) -> bytes:
            query = DNSRecord.parse(message)
            query.q.qname = str(full.q.qname)
            return await cluster.ask(bytes(query.pack()))

        async with open_test_proxy(policy=POLICY, ask_cluster=ask_recorded) as (_, address):
            (wire,) = await ask_tcp(address, bytes(short.pack()))
            got = DNSRecord.parse(wire)
            assert str(got.q.qname) == str(short.q.qname)
            assert got.header.rcode == answer.header.rcode
            assert text(got) == [(shorten(name), *rest) for name, *rest in text(answer)]
            assert [each.edns_len for each in got.ar if each.rtype == QTYPE.OPT] == [
                each.edns_len for each in answer.ar if each.rtype == QTYPE.OPT
            ]

    asyncio.run(main())
