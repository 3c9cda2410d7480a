"""What is answered to packets that are not carried. No I/O.

An ICMP error has the packet's own destination as its source: from an address of the device,
firewalls and reverse-path filters would drop it.
"""

from __future__ import annotations

from ktnet.capture.commands import Send
from ktnet.capture.frame import TcpFramer, build_icmp_frame
from ktnet.wire.flow import OpenFailure
from ktnet.wire.icmp import TYPE_ECHO_REQUEST, Unreachable, build_unreachable
from ktnet.wire.ipv4 import PROTOCOL_ICMP, PROTOCOL_UDP, Ipv4Packet, parse_ipv4
from ktnet.wire.tcp import (
    ACK,
    DEFAULT_MSS,
    RST,
    Segment,
    parse_tcp,
    segment_length,
    sequence_add,
)

UNREACHABLE_CODES = {
    OpenFailure.HOST_UNREACHABLE: Unreachable.HOST,
    OpenFailure.NETWORK_UNREACHABLE: Unreachable.NETWORK,
    OpenFailure.UNKNOWN_NAME: Unreachable.HOST,
    OpenFailure.PROHIBITED: Unreachable.PROHIBITED,
    # Not the target's fault, but no closed port either: a client should try elsewhere or later.
    OpenFailure.SHORTAGE: Unreachable.HOST,
    OpenFailure.TUNNEL_DOWN: Unreachable.HOST,
}
"""How a failure is told by ICMP; the others are told by a reset, or by silence."""


def refuse_packet(packet: Ipv4Packet) -> bytes | None:
    """The frame that answers a packet of a protocol that isn't carried; None: no answer.

    UDP and ping are told that they are prohibited. Other ICMP never gets an answer (RFC 1122
    section 3.2.2: no error about an error).
    """
    if packet.protocol == PROTOCOL_ICMP:
        if not packet.payload or packet.payload[0] != TYPE_ECHO_REQUEST:
            return None
    elif packet.protocol != PROTOCOL_UDP:
        return None
    return _refuse(packet, Unreachable.PROHIBITED)


def refuse_syn(
    syn_packet: bytes, failure: OpenFailure, *, icmp_errors: bool = True
) -> bytes | None:
    """The frame that tells an application why its connection can't be; None: silence.

    `syn_packet` is the IPv4 packet that asked for it, which has been parsed before. Without
    `icmp_errors`, which a firewall of this machine would drop, unreachable is told by a reset.
    """
    packet = parse_ipv4(memoryview(syn_packet))
    code = UNREACHABLE_CODES.get(failure)
    if failure is OpenFailure.REFUSED or (code is not None and not icmp_errors):
        return refuse_segment(packet, parse_tcp(packet.payload))
    return None if code is None else _refuse(packet, code)


def refuse_segment(packet: Ipv4Packet, segment: Segment) -> bytes | None:
    """The reset for a segment that belongs to no connection (RFC 9293 section 3.10.7.1)."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        reset = Send(RST, segment.ack, 0, 0)
    else:
        reset = Send(RST | ACK, 0, sequence_add(segment.seq, segment_length(segment)), 0)
    framer = TcpFramer(
        (packet.destination, segment.destination_port),
        (packet.source, segment.source_port),
        DEFAULT_MSS,
    )
    return framer.build_headers(reset)


def _refuse(packet: Ipv4Packet, code: Unreachable) -> bytes:
    message = build_unreachable(code, packet.whole)
    return build_icmp_frame(packet.destination, packet.source, message)
