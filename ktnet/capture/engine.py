"""The loop between the device and the flows: reads in turns, flushes once a turn, keeps the time.

TUN --packets--> flow table --> flows --bytes--> the dialer's flows (far side)
 ^                                |
 +-------- frames, once a turn ---+<---bytes---- the dialer's flows
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Buffer
from ktnet.capture.counters import Counters
from ktnet.capture.flow import CapturedFlow
from ktnet.capture.flows import FlowTable
from ktnet.capture.refusal import refuse_packet
from ktnet.capture.tun import TunDevice
from ktnet.errors import HostNetworkError, RemoteProtocolError
from ktnet.wire.flow import Dialer
from ktnet.wire.ipv4 import PROTOCOL_TCP, PROTOCOL_UDP, Ipv4Packet, is_unicast, parse_ipv4
from ktnet.wire.plainsegment import parse_plain_segment
from ktnet.wire.tcp import checksum_is_right, parse_tcp
from ktnet.wire.vnet import VNET_HEADER_BYTES, parse_vnet_header

PACKETS_PER_TURN = 32
"""Up to 2 MiB: long enough for few acknowledgements, short enough for the others on the loop."""

TICK_S = 0.1
"""How exactly timers are kept, a quarter of the shortest."""

IDLE_CHECK_S = 30.0
"""Between two looks for connections whose application is no more."""


class Datagrams(Protocol):
    """Carries UDP."""

    def packet_received(self, packet: Ipv4Packet, write: Callable[[bytes], None]) -> bool:
        """Take a packet, whose answers are given to `write` as frames; False: not carried.

        Raises RemoteProtocolError for what is no UDP.
        """


class Engine:
    """Owns everything between a device and a dialer, for one event loop."""

    def __init__(
        self,
        device: TunDevice,
        dialer: Dialer,
        local_targets: Mapping[tuple[str, int], tuple[str, int]],
        datagrams: Datagrams | None,
    ) -> None:
        self.dialer = dialer
        self.budget = Budget()
        self.counters = Counters()
        self.icmp_errors = True
        self._device = device
        self._datagrams = datagrams
        self._flows = FlowTable(self, local_targets)
        self._loop = asyncio.get_running_loop()
        self.now_s = self._loop.time
        self._due: dict[CapturedFlow, None] = {}
        self._flush_handle: asyncio.Handle | None = None
        self._timed: dict[CapturedFlow, None] = {}
        self._tick_handle: asyncio.TimerHandle | None = None
        self._idle_handle: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[HostNetworkError] = self._loop.create_future()

    def describe_flows(self, most: int) -> list[dict[str, Any]]:
        """Those that have carried most, as JSON."""
        return self._flows.describe_largest(most)

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._device.fd, self._read_turn)
        self._idle_handle = self._loop.call_later(IDLE_CHECK_S, self._check_idle)

    def stop(self) -> None:
        """Stop reading, and end every connection at both sides."""
        self._loop.remove_reader(self._device.fd)
        for flow in self._flows.all_flows():
            flow.shut()
        for handle in (self._flush_handle, self._tick_handle, self._idle_handle):
            if handle is not None:
                handle.cancel()
        self.lost.cancel()

    # -- a turn ------------------------------------------------------------------------------

    def _read_turn(self) -> None:
        """Take what the device has, up to a bound; then do all that follows from it."""
        try:
            for _ in range(PACKETS_PER_TURN):
                frame = self._device.read()
                if frame is None:
                    break
                self._frame_received(frame)
        except HostNetworkError as error:
            self._loop.remove_reader(self._device.fd)
            if not self.lost.done():
                self.lost.set_result(error)
        self._flush_due()

    def _frame_received(self, frame: memoryview) -> None:
        plain = parse_plain_segment(frame)
        if plain is not None and (flow := self._flows.find(plain[0])) is not None:
            flow.segment_received(plain[1])
            self._due[flow] = None
        else:
            self._look_closer(frame)

    def _look_closer(self, frame: memoryview) -> None:
        """Whatever it is: the beginning of a connection, or nothing that was expected."""
        try:
            vnet = parse_vnet_header(frame)
            packet = parse_ipv4(frame[VNET_HEADER_BYTES:])
            if not (is_unicast(packet.source) and is_unicast(packet.destination)):
                self.counters.packets_dropped += 1
            elif (
                packet.protocol == PROTOCOL_UDP
                and self._datagrams is not None
                and self._datagrams.packet_received(packet, self.write)
            ):
                pass
            elif packet.protocol != PROTOCOL_TCP:
                self._answer(refuse_packet(packet) if self.icmp_errors else None)
            elif vnet.checksum_is_trusted or checksum_is_right(
                packet.source, packet.destination, packet.payload
            ):
                flow = self._flows.segment_received(packet, parse_tcp(packet.payload))
                if flow is not None:
                    self._due[flow] = None
            else:
                self.counters.packets_dropped += 1
        except RemoteProtocolError:
            self.counters.packets_dropped += 1

    def _answer(self, frame: bytes | None) -> None:
        if frame is None:
            self.counters.packets_dropped += 1
        else:
            self.counters.packets_refused += 1
            self.write(frame)

    def _flush_due(self) -> None:
        """Let every flow do what is due, and note until when it has time."""
        self._flush_handle = None
        due, self._due = self._due, {}
        for flow in due:
            flow.flush()
            if flow.deadline_s is not None and flow not in self._timed:
                self._timed[flow] = None
        if self._timed and self._tick_handle is None:
            self._tick_handle = self._loop.call_later(TICK_S, self._tick)
        if self._due:  # a flow's end can be another's turn to open
            self._schedule_flush()

    # -- what flows ask for (ktnet.capture.flow.Surroundings) ------------------------------------

    def write(self, headers: bytes, payload: Sequence[Buffer] = ()) -> None:
        """Give a frame to the device."""
        if not self._device.write(headers, payload):
            self.counters.packets_dropped += 1

    def flush_soon(self, flow: CapturedFlow) -> None:
        """Call `flow.flush` when this turn is over."""
        self._due[flow] = None
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush_due)

    def settled(self, flow: CapturedFlow) -> None:
        """`flow` isn't being opened any more."""
        self._flows.settled(flow)

    def forget(self, flow: CapturedFlow) -> None:
        """`flow` is over."""
        self._flows.forget(flow)
        self._timed.pop(flow, None)

    # -- time --------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Wake the flows whose time has come."""
        self._tick_handle = None
        now_s = self.now_s()
        for flow in list(self._timed):
            deadline_s = flow.deadline_s
            if deadline_s is None:
                del self._timed[flow]
            elif deadline_s <= now_s:
                flow.time_out(now_s)
                self._due[flow] = None
        self._flush_due()

    def _check_idle(self) -> None:
        now_s = self.now_s()
        for flow in self._flows.all_flows():
            flow.check_idle(now_s)
            self._due[flow] = None
        self._flush_due()
        self._idle_handle = self._loop.call_later(IDLE_CHECK_S, self._check_idle)


class Capture:
    """A running capture, as others see it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def counters(self) -> Counters:
        """What it has done so far."""
        return self._engine.counters

    def describe_flows(self, most: int) -> list[dict[str, Any]]:
        """Those connections that have carried most, as JSON, the largest first."""
        return self._engine.describe_flows(most)

    @property
    def icmp_errors(self) -> bool:
        """Whether applications hear ICMP errors."""
        return self._engine.icmp_errors

    def answer_without_icmp(self) -> None:
        """Tell of unreachable targets by resets from now on, and of what isn't carried not at all.

        For machines with a firewall that drops ICMP errors: `probe_firewall` finds out.
        """
        self._engine.icmp_errors = False

    async def wait_lost(self) -> None:
        """Wait until the device is gone, and raise HostNetworkError then."""
        raise await asyncio.shield(self._engine.lost)


@asynccontextmanager
async def open_capture(
    tun_fd: int,
    dialer: Dialer,
    *,
    local_targets: Mapping[tuple[str, int], tuple[str, int]] | None = None,
    datagrams: Datagrams | None = None,
) -> AsyncIterator[Capture]:
    """Carry the TCP connections that arrive at a TUN device over `dialer`, until the block ends.

    `tun_fd` is a TUN opened with IFF_TUN | IFF_NO_PI | IFF_VNET_HDR and the offloads TUN_F_CSUM |
    TUN_F_TSO4; it stays the caller's, who closes it afterwards. A connection to a key of
    `local_targets` (address, port) is dialled as that entry's host and port; all other ports of
    such an address are refused. UDP goes to `datagrams`; what that doesn't take is refused.

    On leaving every connection is reset at both sides.
    """
    engine = Engine(TunDevice(tun_fd), dialer, local_targets or {}, datagrams)
    engine.start()
    try:
        yield Capture(engine)
    finally:
        engine.stop()
