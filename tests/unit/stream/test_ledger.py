"""The ledger of a session's connections: what it counts, and that it forgets them."""

from __future__ import annotations

from typing import Any

from ktnet.stream.ledger import CountedDialer, Ends, Ledger
from ktnet.wire.flow import OpenFailure

APPLICATION = ("127.0.0.1", 40000)
LISTENER = ("127.0.0.1", 1080)


class Said:
    """Notes what it is told, by name: a receiver, a flow and an opening."""

    def __init__(self, **fields: Any) -> None:
        self.said: list[Any] = []
        self.flow: Any = None
        self.__dict__.update(fields)

    def opened(self, flow: Any) -> None:
        self.flow = flow

    def __getattr__(self, name: str) -> Any:
        if name == "takes_views":
            raise AttributeError
        return lambda *given, **named: self.said.append((name, *given, *named.values()))


class Dialled:
    """A dialer that leaves it to the test how the opening goes on."""

    def __init__(self) -> None:
        self.receivers: list[Any] = []
        self.opening = Said()

    def open_tcp(self, host: str, port: int, origin: Any, receiver: Any) -> Any:
        self.receivers.append(receiver)
        return self.opening


def open_one() -> tuple[Ledger, Any, Said, Any]:
    """A ledger, the carrier's view of one connection, its receiver, and its opening."""
    ledger, dialled, receiver = Ledger(), Dialled(), Said()
    dialer = CountedDialer(dialled, ledger)
    dialer.listens_at = LISTENER
    opening = dialer.open_tcp("tomcat.demo", 80, APPLICATION, receiver)
    return ledger, dialled.receivers[0], receiver, opening


def test_what_it_carries_is_counted_and_passed_on() -> None:
    ledger, carrier, receiver, _ = open_one()
    (told,) = ledger.describe_flows(10)
    assert told["state"] == "opening"
    flow = Said()
    carrier.opened(flow)
    receiver.flow.write(b"four")
    receiver.flow.write_eof()
    carrier.data_received(b"sixsix")
    carrier.pause_writing()
    (told,) = ledger.describe_flows(10)
    assert (told["source"], told["destination"]) == ([*APPLICATION], ["tomcat.demo", 80])
    assert told["socket"] == [[*APPLICATION], [*LISTENER]]
    assert (told["state"], told["bytes_up"], told["bytes_down"]) == ("open", 4, 6)
    assert told["inbound"] is False
    assert flow.said == [("write", b"four"), ("write_eof",)]
    assert receiver.said == [("data_received", b"sixsix"), ("pause_writing",)]
    carrier.closed(reset=False)
    assert ledger.describe_flows(10) == []
    assert receiver.said[-1] == ("closed", False)
    counts = ledger.counters
    assert (counts.flows_open, counts.flows_total, counts.flows_reset) == (0, 1, 0)
    assert (counts.bytes_up, counts.bytes_down) == (4, 6)


def test_a_reset_from_either_side_ends_it_once() -> None:
    ledger, carrier, receiver, _ = open_one()
    carrier.opened(Said())
    receiver.flow.reset()
    receiver.flow.reset()
    carrier.closed(reset=True)
    assert (ledger.counters.flows_open, ledger.counters.flows_reset) == (0, 1)
    assert ledger.describe_flows(10) == []


def test_one_that_fails_and_one_that_is_given_up() -> None:
    ledger, carrier, receiver, _ = open_one()
    carrier.open_failed(OpenFailure.REFUSED)
    assert receiver.said == [("open_failed", OpenFailure.REFUSED)]
    assert (ledger.counters.flows_failed, ledger.describe_flows(1)) == (1, [])
    ledger, _, _, opening = open_one()
    opening.cancel()
    opening.cancel()
    assert (ledger.counters.flows_abandoned, ledger.describe_flows(1)) == (1, [])


def test_one_that_ends_before_it_has_opened_is_forgotten() -> None:
    """As an inbound channel does whose connection breaks while it is being confirmed."""
    ledger = Ledger()
    entry = ledger.begin(Ends(("10.244.0.9", 5), ("127.0.0.1", 8080), is_inbound=True), Said())
    assert ledger.describe_flows(1)[0]["inbound"] is True
    entry.closed(reset=True)
    assert (ledger.describe_flows(1), ledger.counters.flows_open) == ([], 0)


def test_the_largest_come_first_and_views_stay_views() -> None:
    ledger = Ledger()
    entries = [ledger.begin(Ends(("a", n), ("b", n)), Said(takes_views=True)) for n in range(3)]
    assert all(each.takes_views for each in entries)
    for size, entry in zip((5, 9, 1), entries, strict=True):
        entry.opened(Said())
        entry.data_received(bytes(size))
    assert [each["bytes_down"] for each in ledger.describe_flows(2)] == [9, 5]
