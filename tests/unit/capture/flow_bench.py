"""Surroundings for flows: a clock that is set, frames that are kept, a dialer that notes."""

from __future__ import annotations

from collections.abc import Sequence

from scapy.compat import raw
from scapy.layers.inet import IP, TCP

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Buffer
from ktnet.capture.counters import Counters
from ktnet.capture.flow import CapturedFlow
from ktnet.capture.flows import FlowTable, LocalTargets
from ktnet.wire.flow import Receiver
from ktnet.wire.ipv4 import parse_ipv4
from ktnet.wire.tcp import parse_tcp
from ktnet.wire.vnet import VNET_HEADER_BYTES

LAPTOP = "198.18.0.1"


class Opening:
    """What was dialled."""

    def __init__(self, target: tuple[str, int], origin: tuple[str, int], receiver: Receiver):
        self.target = target
        self.origin = origin
        self.receiver = receiver
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Far:
    """A flow that notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def write(self, data: bytes | memoryview) -> None:
        self.heard.append(bytes(data))

    def write_eof(self) -> None:
        self.heard.append("eof")

    def reset(self) -> None:
        self.heard.append("reset")

    def pause_reading(self) -> None:
        self.heard.append("pause")

    def resume_reading(self) -> None:
        self.heard.append("resume")


class Bench:
    """A flow table and everything around it."""

    def __init__(self, local_targets: LocalTargets | None = None) -> None:
        self.dialer = self
        self.budget = Budget()
        self.counters = Counters()
        self.icmp_errors = True
        self.time_s = 0.0
        self.openings: list[Opening] = []
        self.frames: list[IP] = []
        self.due: dict[CapturedFlow, None] = {}
        self.table = FlowTable(self, local_targets or {})

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        self.openings.append(Opening((host, port), origin, receiver))
        return self.openings[-1]

    def now_s(self) -> float:
        return self.time_s

    def write(self, headers: bytes, payload: Sequence[Buffer] = ()) -> None:
        self.frames.append(IP(b"".join((headers, *payload))[VNET_HEADER_BYTES:]))

    def flush_soon(self, flow: CapturedFlow) -> None:
        self.due[flow] = None

    def settled(self, flow: CapturedFlow) -> None:
        self.table.settled(flow)

    def forget(self, flow: CapturedFlow) -> None:
        self.table.forget(flow)

    # -- what tests do

    def flush(self) -> None:
        """The end of a turn, and the next ones until nothing is due."""
        while self.due:
            due, self.due = self.due, {}
            for flow in due:
                flow.flush()

    def gets(self, packet: IP) -> None:
        """The application's packet comes in, in a turn of its own."""
        parsed = parse_ipv4(memoryview(raw(packet)))
        flow = self.table.segment_received(parsed, parse_tcp(parsed.payload))
        if flow is not None:
            self.flush_soon(flow)
        self.flush()

    def gets_syn(self, port: int = 40000, destination: str = "10.96.0.1:80", seq: int = 1) -> None:
        host, _, service = destination.partition(":")
        tcp = TCP(sport=port, dport=int(service), seq=seq, flags="S", options=[("MSS", 1460)])
        self.gets(IP(src=LAPTOP, dst=host) / tcp)

    def sent(self) -> list[IP]:
        """The frames since the last call."""
        frames, self.frames = self.frames, []
        return frames
