"""The resolver of the office: what a laptop asks when no tunnel is there.

It is authoritative for `office.example` and knows a few outside names; all it is asked is
remembered, so that a test can tell which names left the laptop that way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dnslib import CLASS, QTYPE, RCODE, RR, SOA, A

from ktnet.lab.dns.message import build_response
from ktnet.lab.dns.querylog import QueryLog
from ktnet.lab.dns.socket import open_dns_server
from ktnet.lab.dns.zone import Answer

ZONE = "office.example"
TTL_S = 300

NAMES = {
    "intranet.office.example": "192.168.64.80",
    "printer.office.example": "192.168.64.81",
    "example.com": "203.0.113.10",
    "www.example.com": "203.0.113.10",
    "foo.io": "203.0.113.20",
    "tomcat.io": "203.0.113.21",
}
"""Outside names lie in 203.0.113.0/24, which RFC 5737 keeps for documentation."""


class OfficeDns:
    """Answers the office's names and remembers what it was asked."""

    def __init__(self) -> None:
        self._queries = QueryLog()
        self._asker = ""

    def respond(self, query: bytes, udp: bool, asker: str) -> bytes | None:
        """The answer to a query's bytes."""
        self._asker = asker
        return build_response(query, self._resolve, udp=udp, recursive=True)

    def list_queries(self) -> list[dict[str, object]]:
        """What was asked, oldest first."""
        return self._queries.list()

    def _resolve(self, name: str, kind: int, _dnssec: bool) -> Answer:
        answer = resolve(name, kind)
        self._queries.add(self._asker, name, kind, answer.rcode)
        return answer


def resolve(name: str, kind: int) -> Answer:
    """The office's answer; pure."""
    own = name == ZONE or name.endswith("." + ZONE)
    address = NAMES.get(name)
    if address is not None and kind == QTYPE.A:
        return Answer([RR(name, QTYPE.A, ttl=TTL_S, rdata=A(address))], authoritative=own)
    start = SOA(f"ns.{ZONE}", f"hostmaster.{ZONE}", (1, 7200, 1800, 86400, TTL_S))
    authority = [RR(ZONE if own else ".", QTYPE.SOA, CLASS.IN, ttl=TTL_S, rdata=start)]
    known = address is not None or name == ZONE
    rcode = RCODE.NOERROR if known else RCODE.NXDOMAIN
    return Answer(authority=authority, rcode=rcode, authoritative=own)


@asynccontextmanager
async def open_office_dns(*, address: str, port: int) -> AsyncIterator[OfficeDns]:
    """Answers on address:port."""
    office = OfficeDns()
    async with open_dns_server(address, port, office.respond):
        yield office
