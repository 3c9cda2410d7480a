"""A small real DNS server on loopback, UDP and TCP on one port, that does as a test tells it."""

from __future__ import annotations

import asyncio
import contextlib

from dnslib import QTYPE, RCODE, RR, A, DNSRecord


def question(name="tomcat.demo.svc.cluster.local", message_id=0x1234, qtype="A") -> bytes:
    record = DNSRecord.question(name, qtype)
    record.header.id = message_id
    return record.pack()


def answer(query: bytes, address="10.96.0.7", rcode="NOERROR") -> bytes:
    reply = DNSRecord.parse(query).reply()
    reply.header.rcode = getattr(RCODE, rcode)
    if rcode == "NOERROR":
        reply.add_answer(RR(reply.q.qname, QTYPE.A, rdata=A(address), ttl=30))
    return reply.pack()


def addresses(message: bytes) -> list[str]:
    return [str(rr.rdata) for rr in DNSRecord.parse(message).rr]


class NameServer(asyncio.DatagramProtocol):
    """`by_udp` and `by_tcp` take (server, query) and return the answers to send, in order."""

    def __init__(self, by_udp, by_tcp=None):
        self.by_udp = by_udp
        self.by_tcp = by_tcp
        self.queries = []
        self.ports = []
        self.tcp_queries = []

    @contextlib.asynccontextmanager
    async def serving(self):
        loop = asyncio.get_running_loop()
        tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
        self.port = tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", self.port)
        )
        try:
            yield self
        finally:
            self._udp.close()
            tcp.close()
            await asyncio.sleep(0)

    def datagram_received(self, data, addr):
        self.queries.append(data)
        self.ports.append(addr[1])
        for reply in self.by_udp(self, data):
            self._udp.sendto(reply, addr)

    async def _serve_tcp(self, reader, writer):
        with contextlib.suppress(EOFError, ConnectionError):
            length = int.from_bytes(await reader.readexactly(2), "big")
            query = await reader.readexactly(length)
            self.tcp_queries.append(query)
            for reply in self.by_tcp(self, query) if self.by_tcp else []:
                writer.write(len(reply).to_bytes(2, "big") + reply)
            await reader.read()
        writer.transport.abort()
