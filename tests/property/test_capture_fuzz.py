"""Garbage from the device: parsed or dropped, never an exception, whole or cut short."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP

from ktnet.capture.engine import open_capture
from ktnet.errors import RemoteProtocolError
from ktnet.wire.checksum import internet_checksum, ones_complement_sum
from ktnet.wire.flow import Flow, OpenFailure, Receiver
from ktnet.wire.ipv4 import parse_ipv4
from ktnet.wire.tcp import parse_syn_options, parse_tcp
from ktnet.wire.vnet import parse_vnet_header

DONE = b"\0" * 10 + raw(IP(src="198.18.0.1", dst="10.96.0.1") / UDP(sport=1, dport=2) / b"done")

seeds = st.sampled_from(
    [
        raw(IP(src="198.18.0.1", dst="10.96.0.1") / layer)
        for layer in (
            TCP(sport=40000, dport=80, flags="S", seq=1, options=[("MSS", 1460), ("WScale", 7)]),
            TCP(sport=40000, dport=80, flags="S", seq=9, options=[("Timestamp", (1, 2))]),
            TCP(sport=40000, dport=80, flags="A", seq=2, ack=100) / b"data",
            TCP(sport=40000, dport=80, flags="PA", seq=2, ack=100) / b"data",
            TCP(sport=40000, dport=80, flags="FA", seq=6, ack=100),
            TCP(sport=40000, dport=80, flags="R", seq=2),
            TCP(sport=40000, dport=81, flags="S", seq=2),
            UDP(sport=53, dport=53) / b"query",
            ICMP() / b"ping",
            ICMP(type=3, code=1) / raw(IP() / UDP()),
        )
    ]
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Packets with a few bytes changed, cut off or added, and sheer noise."""
    packet = bytearray(draw(st.one_of(seeds, st.binary(max_size=100))))
    for _ in range(draw(st.integers(0, 3))):
        if packet:
            packet[draw(st.integers(0, len(packet) - 1))] = draw(st.integers(0, 255))
    packet = packet[: draw(st.integers(0, len(packet)))] if draw(st.booleans()) else packet
    flags = draw(st.sampled_from([0, 1, 2, 255]))  # mostly such that no checksum hides the rest
    vnet = draw(st.one_of(st.just(struct.pack("B9x", flags)), st.binary(max_size=12)))
    return vnet + bytes(packet)


class FarSide:
    """Opens what goes to port 80, refuses all else; answers with what it gets."""

    def open_tcp(
        self, _host: str, port: int, _origin: tuple[str, int], receiver: Receiver
    ) -> asyncio.Handle:
        loop = asyncio.get_running_loop()
        if port == 80:
            return loop.call_soon(receiver.opened, Echo(receiver))
        return loop.call_soon(receiver.open_failed, OpenFailure.HOST_UNREACHABLE)


class Echo:
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def write(self, data: bytes | memoryview) -> None:
        asyncio.get_running_loop().call_soon(self.receiver.data_received, bytes(data))

    def write_eof(self) -> None:
        asyncio.get_running_loop().call_soon(self.receiver.eof_received)

    def reset(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


_AGREES: type[Flow] = Echo


async def feed(garbage: list[bytes]) -> None:
    """Gives all to a capture, and waits until that has answered a last packet."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.closing(ours), contextlib.closing(theirs):
        ours.setblocking(False)
        async with open_capture(theirs.fileno(), FarSide()) as capture:
            for frame in [*garbage, DONE]:
                if frame:  # an empty one would mean that the socket was closed
                    await loop.sock_sendall(ours, frame)
            while not (await loop.sock_recv(ours, 70000)).endswith(DONE[10:]):
                pass
            assert capture.counters.packets_refused >= 1
    assert not complaints


@settings(max_examples=150, deadline=None)
@given(st.lists(frames(), max_size=12))
def test_the_capture_survives(garbage):
    asyncio.run(feed(garbage))


@settings(max_examples=300, deadline=None)
@given(st.one_of(frames(), st.binary(max_size=80)))
def test_parsers_parse_or_blame_the_peer(data):
    for parse in (parse_vnet_header, parse_ipv4, parse_tcp, parse_syn_options):
        for length in {len(data), len(data) // 2}:
            with contextlib.suppress(RemoteProtocolError):
                parse(memoryview(data)[:length])


@given(st.binary(max_size=300))
def test_a_checksum_makes_the_sum_complete(data):
    even = data + bytes(len(data) % 2)
    summed = ones_complement_sum(even + internet_checksum(even).to_bytes(2, "big"))
    assert summed == 0xFFFF


@given(st.binary(max_size=300))
def test_the_sum_is_that_of_rfc_1071(data):
    total = 0
    for high, low in zip(data[::2], [*data[1::2], 0], strict=False):
        total += high << 8 | low
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert ones_complement_sum(data) == total
