"""Which connections go through a session, and how much each has carried: for those that come as
streams. (Of packets, `ktnet.capture.flows` knows it.)

near side ─► write ─► Entry ─► Flow ─► far side             up
near side ◄─ data_received ◄─ Entry ◄─ far side             down
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from typing import Any

from ktnet.wire.flow import Dialer, Flow, OpenFailure, Opening, Receiver

Endpoint = tuple[str, int]
"""Host and port."""


@dataclass
class Counters:
    """Plain numbers, read by whoever shows them."""

    flows_open: int = 0
    """Connections that the far side has accepted and that are not over."""
    flows_total: int = 0
    """Attempts to connect."""
    flows_failed: int = 0
    """Of these: the far side could not connect."""
    flows_abandoned: int = 0
    """Of these: who asked for it gave up before the far side answered."""
    flows_reset: int = 0
    """Opened, and then ended by a reset from either side."""
    bytes_up: int = 0
    """From this machine into the cluster."""
    bytes_down: int = 0


@dataclass(frozen=True, slots=True)
class Ends:
    """What a connection is between."""

    source: Endpoint
    """Who has asked for it: a process here, or a caller in the cluster."""
    destination: Endpoint
    """Where it leads to; may be a name."""
    socket: tuple[Endpoint, Endpoint] | None = None
    """Of this machine's process: its own end, and the one that we hold; None where it has none."""
    is_inbound: bool = False
    """Whether it comes from the cluster."""


class Ledger:
    """The connections of one session."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._entries: dict[Entry, None] = {}

    def begin(self, ends: Ends, receiver: Receiver) -> Entry:
        """A connection is being opened. The entry is to be told in the receiver's place, and hands
        itself to it as the flow."""
        self.counters.flows_total += 1
        entry = Entry(self, ends, receiver)
        self._entries[entry] = None
        return entry

    def failed(self) -> None:
        """There was one that could not even begin."""
        self.counters.flows_total += 1
        self.counters.flows_failed += 1

    def forget(self, entry: Entry) -> bool:
        """It is over; whether that was not known yet."""
        if entry not in self._entries:
            return False
        del self._entries[entry]
        return True

    def describe_flows(self, most: int) -> list[dict[str, Any]]:
        """Those that have carried most, as JSON, the largest first."""
        largest = heapq.nlargest(most, self._entries, key=lambda entry: entry.bytes_carried)
        return [entry.describe() for entry in largest]


class Entry:
    """One connection: a Receiver to whoever carries it, a Flow to whoever it is for."""

    def __init__(self, ledger: Ledger, ends: Ends, receiver: Receiver) -> None:
        self.bytes_up = self.bytes_down = 0
        self.takes_views: bool = getattr(receiver, "takes_views", False)
        self._ledger = ledger
        self._counters = ledger.counters
        self._ends = ends
        self._receiver = receiver
        self._flow: Flow | None = None
        self._began_s = time.monotonic()
        # What has nothing to count goes straight.
        self.eof_received = receiver.eof_received
        self.pause_writing = receiver.pause_writing
        self.resume_writing = receiver.resume_writing

    @property
    def bytes_carried(self) -> int:
        """Both ways."""
        return self.bytes_up + self.bytes_down

    def describe(self) -> dict[str, Any]:
        """As JSON, for who looks on; `age_s` in seconds."""
        ends = self._ends
        told: dict[str, Any] = {
            "source": list(ends.source),
            "destination": list(ends.destination),
            "inbound": ends.is_inbound,
            "state": "opening" if self._flow is None else "open",
            "age_s": round(time.monotonic() - self._began_s, 1),
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }
        if ends.socket is not None:
            told["socket"] = [list(end) for end in ends.socket]
        return told

    # -- what the carrier says -------------------------------------------------------------------

    def opened(self, flow: Flow) -> None:
        """Connected."""
        self._flow = flow
        self._counters.flows_open += 1
        self.write_eof = flow.write_eof
        self.pause_reading = flow.pause_reading
        self.resume_reading = flow.resume_reading
        self._receiver.opened(self)

    def open_failed(self, failure: OpenFailure) -> None:
        """It could not be."""
        self._counters.flows_failed += 1
        self._ledger.forget(self)
        self._receiver.open_failed(failure)

    def data_received(self, data: bytes) -> None:
        """Into this machine."""
        size = len(data)
        self.bytes_down += size
        self._counters.bytes_down += size
        self._receiver.data_received(data)

    def closed(self, *, reset: bool) -> None:
        """It is over."""
        self._end(reset=reset)
        self._receiver.closed(reset=reset)

    # -- what the near side says -----------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Out of this machine."""
        assert self._flow is not None  # noqa: S101  (nobody has it before)
        size = len(data)
        self.bytes_up += size
        self._counters.bytes_up += size
        self._flow.write(data)

    def reset(self) -> None:
        """Torn down from this side."""
        if self._flow is not None:
            self._end(reset=True)
            self._flow.reset()

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        if self._flow is None:
            self._end(reset=True)

    def _end(self, *, reset: bool) -> None:
        if not self._ledger.forget(self):
            return
        if self._flow is None:
            self._counters.flows_abandoned += 1
        else:
            self._counters.flows_open -= 1
            self._counters.flows_reset += reset


class CountedDialer:
    """A dialer whose connections stand in a ledger (a `ktnet.wire.flow.Dialer`)."""

    def __init__(self, dialer: Dialer, ledger: Ledger) -> None:
        self._dialer = dialer
        self._ledger = ledger
        self.listens_at: Endpoint | None = None
        """Where processes of this machine come to, once that is known."""

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> CountedOpening:
        """See `ktnet.wire.flow.Dialer`."""
        socket = (origin, self.listens_at) if self.listens_at is not None else None
        entry = self._ledger.begin(Ends(origin, (host, port), socket), receiver)
        return CountedOpening(self._dialer.open_tcp(host, port, origin, entry), entry)


class CountedOpening:
    """A flow that is being opened (a `ktnet.wire.flow.Opening`)."""

    def __init__(self, opening: Opening, entry: Entry) -> None:
        self._opening = opening
        self._entry = entry

    def cancel(self) -> None:
        """Give up."""
        self._entry.abandon()
        self._opening.cancel()
