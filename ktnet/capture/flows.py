"""All connections by their four-tuple: which one a segment belongs to, and whether it may begin."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from ktnet.capture.admission import Admission, Turn
from ktnet.capture.flow import CapturedFlow, Surroundings
from ktnet.capture.refusal import refuse_segment
from ktnet.wire.ipv4 import Ipv4Packet, format_ipv4
from ktnet.wire.plainsegment import FourTuple
from ktnet.wire.tcp import ACK, FIN, RST, SYN, Segment

LocalTargets = Mapping[tuple[str, int], tuple[str, int]]
"""Address and port that an application connects to -> host and port that the far side connects to
instead."""


class FlowTable:
    """The connections of one capture."""

    def __init__(self, surroundings: Surroundings, local_targets: LocalTargets) -> None:
        self._surroundings = surroundings
        self._local_targets = local_targets
        self._local_addresses = frozenset(address for address, _ in local_targets)
        self._flows: dict[FourTuple, CapturedFlow] = {}
        self._detached: dict[CapturedFlow, None] = {}  # their four-tuple is another's now
        self._admission: Admission[CapturedFlow] = Admission()

    def __len__(self) -> int:
        return len(self._flows) + len(self._detached)

    def all_flows(self) -> Iterable[CapturedFlow]:
        """A copy, since what is done with them may remove them."""
        return [*self._flows.values(), *self._detached]

    def describe_largest(self, most: int) -> list[dict[str, Any]]:
        """Those that have carried most, as JSON, the largest first."""
        largest = heapq.nlargest(most, self.all_flows(), key=lambda flow: flow.bytes_carried)
        return [flow.describe() for flow in largest]

    def find(self, key: FourTuple) -> CapturedFlow | None:
        """The connection between these ends, if there is one."""
        return self._flows.get(key)

    def segment_received(self, packet: Ipv4Packet, segment: Segment) -> CapturedFlow | None:
        """Hand a segment to its connection, which is returned: its `flush` must follow.

        Raises RemoteProtocolError where a SYN's options are garbage.
        """
        key = (packet.source, segment.source_port, packet.destination, segment.destination_port)
        flow = self._flows.get(key)
        if flow is not None and not flow.gives_way_to(segment):
            flow.segment_received(segment)
            return flow
        if segment.flags & (SYN | ACK | RST | FIN) == SYN:
            return self._begin(key, flow, packet, segment)
        self._refuse(packet, segment)
        return None

    def _begin(
        self, key: FourTuple, old: CapturedFlow | None, packet: Ipv4Packet, segment: Segment
    ) -> CapturedFlow | None:
        target = self._find_target(packet, segment)
        if target is None:
            self._refuse(packet, segment)
            return None
        flow = CapturedFlow(packet, segment, target, self._surroundings)
        if old is not None:
            # It may still have bytes for the far side; it leaves when those are gone.
            del self._flows[key]
            self._detached[old] = None
            old.give_way()
            self._surroundings.flush_soon(old)
        turn = self._admission.apply(flow, flow.destination)
        if turn is Turn.NEVER:
            self._surroundings.counters.packets_dropped += 1
            return None
        self._surroundings.counters.flows_total += 1
        self._flows[key] = flow
        if turn is Turn.NOW:
            flow.may_open()
        return flow

    def _find_target(self, packet: Ipv4Packet, segment: Segment) -> tuple[str, int] | None:
        """What the far side is to connect to; None: nothing, as a closed port."""
        address = format_ipv4(packet.destination)
        if address in self._local_addresses:
            return self._local_targets.get((address, segment.destination_port))
        return address, segment.destination_port

    def _refuse(self, packet: Ipv4Packet, segment: Segment) -> None:
        frame = refuse_segment(packet, segment)
        if frame is not None:
            self._surroundings.write(frame)

    def settled(self, flow: CapturedFlow) -> None:
        """`flow` isn't being opened any more: open the next in line."""
        following = self._admission.leave(flow, flow.destination)
        if following is not None:
            following.may_open()
            self._surroundings.flush_soon(following)

    def forget(self, flow: CapturedFlow) -> None:
        """`flow` is over."""
        if flow in self._detached:
            del self._detached[flow]
        else:
            del self._flows[*flow.source, *flow.destination]
