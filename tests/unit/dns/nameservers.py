"""Real nameservers on loopback for the tests of the proxy, and a client that counts octets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dnslib import AAAA, CNAME, QTYPE, RR, SOA, A, DNSRecord

from ktnet.dns.policy import Policy, build_policy
from ktnet.dns.proxy import Proxy, open_proxy
from ktnet.dns.resolver import AskCluster

Respond = Callable[[DNSRecord, str], list[bytes]]
"""From a query and "udp" or "tcp" to what is sent back."""

ADDRESSES = {"example.com.": "192.0.2.1", "intranet.office.example.": "192.0.2.80"}


def answer_known(query: DNSRecord, transport: str) -> list[bytes]:
    """A few outside names; NXDOMAIN with SOA for others, NODATA for other types."""
    reply = query.reply()
    name = str(query.q.qname).lower()
    soa = RR("example.com", QTYPE.SOA, ttl=60, rdata=SOA("ns.example.com", "a.example.com"))
    if name == "alias.example.com.":
        reply.add_answer(RR(query.q.qname, QTYPE.CNAME, ttl=60, rdata=CNAME("example.com")))
        name = "example.com."
    if name not in ADDRESSES:
        reply.header.rcode = 3
        reply.add_auth(soa)
    elif query.q.qtype == QTYPE.A:
        owner = reply.rr[0].rdata.label if reply.rr else query.q.qname
        reply.add_answer(RR(owner, QTYPE.A, ttl=60, rdata=A(ADDRESSES[name])))
    elif query.q.qtype == QTYPE.AAAA and name == "example.com.":
        reply.add_answer(RR(query.q.qname, QTYPE.AAAA, ttl=60, rdata=AAAA("2001:db8::1")))
    else:
        reply.add_auth(soa)
    return [bytes(reply.pack())]


def answer_large(query: DNSRecord, transport: str) -> list[bytes]:
    """A hundred addresses; over UDP nothing of them but TC."""
    reply = query.reply()
    if transport == "udp":
        reply.header.tc = 1
        return [bytes(reply.pack())]
    for number in range(100):
        reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=30, rdata=A(f"10.9.0.{number}")))
    return [bytes(reply.pack())]


def answer_with_rcode(rcode: int) -> Respond:
    def respond(query: DNSRecord, transport: str) -> list[bytes]:
        reply = query.reply()
        reply.header.rcode = rcode
        return [bytes(reply.pack())]

    return respond


def keep_silent(query: DNSRecord, transport: str) -> list[bytes]:
    return []


class Nameserver:
    """A running nameserver, and what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, DNSRecord]] = []
        self.clients: list[tuple[str, int]] = []

    def names(self) -> list[str]:
        return [str(query.q.qname) for _, query in self.asked]


@asynccontextmanager
async def open_nameserver(
    respond: Respond, *, address: str = "127.0.0.1", port: int = 0, tcp: bool = True
) -> AsyncIterator[Nameserver]:
    """A nameserver on UDP and, with `tcp`, on TCP of the same port."""
    udp_socket, tcp_socket = bind_both(address, port)
    server = Nameserver(udp_socket.getsockname()[1])

    class Udp(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:
            self.transport = transport

        def datagram_received(self, data, addr) -> None:
            query = DNSRecord.parse(data)
            server.asked.append(("udp", query))
            server.clients.append(addr)
            for message in respond(query, "udp"):
                self.transport.sendto(message, addr)

    async def serve(reader, writer) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        query = DNSRecord.parse(await reader.readexactly(length))
        server.asked.append(("tcp", query))
        for message in respond(query, "tcp"):
            writer.write(struct.pack("!H", len(message)) + message)
        await writer.drain()
        writer.close()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Udp, sock=udp_socket)
    listening = await asyncio.start_server(serve, sock=tcp_socket) if tcp else None
    if not tcp:
        tcp_socket.close()
    try:
        yield server
    finally:
        transport.abort()
        if listening is not None:
            listening.close()
            await listening.wait_closed()


def bind_both(address: str = "127.0.0.1", port: int = 0) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a listening TCP socket on the same port."""
    while True:
        tcp = socket.create_server((address, port), backlog=64)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            if port:
                raise
            continue
        return udp, tcp


def no_service(namespace: str, name: str) -> None:
    return None


async def no_cluster(message: bytes) -> bytes:
    raise AssertionError("the cluster was asked")


@asynccontextmanager
async def open_test_proxy(
    *,
    policy: Policy | None = None,
    ask_cluster: AskCluster = no_cluster,
    upstreams: list = (),
    port: int = 53,
) -> AsyncIterator[tuple[Proxy, tuple[str, int]]]:
    """A proxy on loopback, and its address."""
    udp, tcp = bind_both()
    address = udp.getsockname()
    policy = policy or build_policy("cluster.local", [], no_service)
    async with open_proxy(udp, tcp, policy, ask_cluster, upstreams, upstream_port=port) as proxy:
        yield proxy, address


class UdpClient(asyncio.DatagramProtocol):
    """Sends and receives datagrams from one port, as a stub resolver does."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, addr) -> None:
        self.received.put_nowait(data)


@asynccontextmanager
async def open_udp_client(address: tuple[str, int]) -> AsyncIterator[UdpClient]:
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        UdpClient, remote_addr=address
    )
    try:
        yield client
    finally:
        transport.abort()


async def ask_udp(address: tuple[str, int], message: bytes, timeout_s: float = 8.0) -> bytes:
    async with open_udp_client(address) as client, asyncio.timeout(timeout_s):
        client.transport.sendto(message)
        return await client.received.get()


async def ask_tcp(address: tuple[str, int], *messages: bytes) -> list[bytes]:
    """All messages at once on one connection; the answers in the order in which they came."""
    reader, writer = await asyncio.open_connection(*address)
    writer.writelines(struct.pack("!H", len(message)) + message for message in messages)
    writer.write_eof()
    answers = []
    async with asyncio.timeout(8.0):
        while length := await reader.read(2):
            answers.append(await reader.readexactly(struct.unpack("!H", length)[0]))
    writer.close()
    await writer.wait_closed()
    return answers


async def wait_until(condition: Callable[[], bool], timeout_s: float = 8.0) -> None:
    """For conditions that nobody signals."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def question(name: str, qtype: str = "A", id_: int = 0x1234) -> bytes:
    query = DNSRecord.question(name, qtype)
    query.header.id = id_
    return bytes(query.pack())
