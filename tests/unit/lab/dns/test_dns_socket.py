"""A DNS server of the lab on real sockets, over UDP and TCP."""

import asyncio
import contextlib
import socket
import struct

from dnslib import DNSRecord

from ktnet.lab.dns.office import OfficeDns, open_office_dns
from ktnet.lab.dns.socket import open_dns_server


def free_port() -> int:
    """A port that is free for both TCP and UDP at this moment."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        port: int = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        return port


def ask_udp(port: int, name: str) -> DNSRecord:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(DNSRecord.question(name).pack(), ("127.0.0.1", port))
        return DNSRecord.parse(client.recv(4096))


def test_the_office_answers_and_remembers() -> None:
    async def run() -> OfficeDns:
        port = free_port()
        async with open_office_dns(address="127.0.0.1", port=port) as office:
            intranet = await asyncio.to_thread(ask_udp, port, "Intranet.office.example")
            assert str(intranet.rr[0].rdata) == "192.168.64.80"
            assert (intranet.header.aa, intranet.header.ra) == (1, 1)
            outside = await asyncio.to_thread(ask_udp, port, "example.com")
            assert (len(outside.rr), outside.header.aa) == (1, 0)
            absent = await asyncio.to_thread(ask_udp, port, "tomcat.demo.svc.cluster.local")
            assert absent.header.rcode == 3
            return office

    queries = asyncio.run(run()).list_queries()
    assert [(each["name"], each["type"], each["rcode"]) for each in queries] == [
        ("intranet.office.example", "A", "NOERROR"),
        ("example.com", "A", "NOERROR"),
        ("tomcat.demo.svc.cluster.local", "A", "NXDOMAIN"),
    ]
    assert {each["asker"] for each in queries} == {"127.0.0.1"}


def test_tcp_carries_several_messages_in_any_pieces() -> None:
    async def run() -> None:
        port = free_port()
        seen = []

        def respond(query: bytes, udp: bool, asker: str) -> bytes:
            seen.append((udp, asker))
            return query[::-1]

        async with open_dns_server("127.0.0.1", port, respond):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stream = b"".join(struct.pack("!H", len(each)) + each for each in (b"one", b"three"))
            for piece in (stream[:1], stream[1:6], stream[6:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            assert await reader.readexactly(12) == b"\0\3eno\0\5eerht"
            writer.close()
            await writer.wait_closed()
        assert seen == [(False, "127.0.0.1")] * 2

    asyncio.run(run())


def test_closing_the_server_closes_its_connections() -> None:
    async def run() -> None:
        port = free_port()
        with socket.socket() as curt, socket.socket() as idle:
            async with open_dns_server("127.0.0.1", port, lambda *_: None):
                for client in (curt, idle):
                    client.settimeout(5)
                    await asyncio.to_thread(client.connect, ("127.0.0.1", port))
                curt.sendall(b"\0\1x")
                # A message that deserves no answer ends the connection.
                assert await asyncio.to_thread(curt.recv, 1) == b""
                idle.sendall(b"\0")
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.to_thread(idle.recv, 1) == b""

    asyncio.run(run())
