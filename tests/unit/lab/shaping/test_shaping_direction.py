"""One direction of a link, with times that the tests make up."""

from __future__ import annotations

import struct

import pytest

from ktnet.errors import RemoteProtocolError
from ktnet.lab.shaping.conditions import Conditions, parse_conditions
from ktnet.lab.shaping.direction import MOST_HELD_BYTES, Direction
from ktnet.wire.vnet import PLAIN_VNET_HEADER

IP, ARP = b"\x08\x00", b"\x08\x06"
WIRE_BYTES = 1000


def build_frame(number: int, kind: bytes = IP) -> bytes:
    """A packet that says its number, of WIRE_BYTES on the wire."""
    ethernet = bytes(12) + kind
    return PLAIN_VNET_HEADER + ethernet + struct.pack("!I", number) + bytes(WIRE_BYTES - 18)


def read_numbers(frames: list[bytes]) -> list[int]:
    return [struct.unpack_from("!I", frame, len(PLAIN_VNET_HEADER) + 14)[0] for frame in frames]


def send(direction: Direction, count: int, now_s: float = 0.0, kind: bytes = IP) -> None:
    for number in range(count):
        direction.offer(build_frame(number, kind), now_s)


def test_a_delay_is_half_of_the_round_trips() -> None:
    direction = Direction(Conditions(delay_ms=100), "up")
    send(direction, 3, now_s=7.0)
    assert direction.next_due_s == pytest.approx(7.05)
    assert direction.take_due(7.049) == []
    assert read_numbers(direction.take_due(7.051)) == [0, 1, 2]
    assert direction.next_due_s is None


def test_packets_leave_at_the_rate() -> None:
    # 8 Mbit/s are 1,000 of these packets a second.
    direction = Direction(Conditions(rate_mbit=8, delay_ms=20), "up")
    send(direction, 10)
    arrivals = []
    while (due_s := direction.next_due_s) is not None:
        arrivals += [(due_s, number) for number in read_numbers(direction.take_due(due_s))]
    assert [number for _, number in arrivals] == list(range(10))
    assert [due_s for due_s, _ in arrivals] == pytest.approx(
        [0.010 + 0.001 * (n + 1) for n in range(10)]
    )


def test_an_idle_link_saves_nothing_up() -> None:
    direction = Direction(Conditions(rate_mbit=8), "up")
    send(direction, 1)
    direction.take_due(1.0)
    send(direction, 2, now_s=5.0)
    assert len(direction.take_due(5.0015)) == 1
    assert len(direction.take_due(5.0025)) == 1


def test_what_the_queue_has_no_room_for_is_refused() -> None:
    direction = Direction(Conditions(rate_mbit=8, queue_kib=10), "up")
    send(direction, 30)
    assert (direction.passed, direction.refused) == (10, 20)
    assert read_numbers(direction.take_due(60.0)) == list(range(10))
    # Half of it has gone by then, and there is room for as many.
    direction = Direction(Conditions(rate_mbit=8, queue_kib=10), "up")
    send(direction, 30)
    send(direction, 30, now_s=0.005)
    assert direction.passed == 15


def test_an_empty_queue_takes_any_one_packet() -> None:
    direction = Direction(Conditions(rate_mbit=8, queue_kib=0.1), "up")
    send(direction, 3)
    assert (direction.passed, direction.refused) == (1, 2)


def test_a_queue_without_a_size_holds_a_round_trip() -> None:
    assert Conditions(rate_mbit=200, delay_ms=100).queue_bytes == pytest.approx(2.5e6)
    assert Conditions(rate_mbit=1).queue_bytes == 256 * 1024


def test_what_is_only_delayed_is_bounded_too() -> None:
    direction = Direction(Conditions(delay_ms=1000), "up")
    count = MOST_HELD_BYTES // WIRE_BYTES + 10
    frame = build_frame(0)
    for _ in range(count):
        direction.offer(frame, 0.0)
    assert direction.refused > 0
    assert direction.passed * len(frame) <= MOST_HELD_BYTES
    direction.take_due(1.0)
    direction.offer(frame, 1.0)
    assert direction.next_due_s == pytest.approx(1.5)


def list_arrived(seed: int, name: str, share: float = 0.1, count: int = 5000) -> list[int]:
    direction = Direction(Conditions(share=share, seed=seed), name)
    send(direction, count)
    arrived = read_numbers(direction.take_due(0.0))
    assert (direction.passed, direction.lost) == (len(arrived), count - len(arrived))
    return arrived


def test_losses_are_as_many_as_said_and_the_same_again() -> None:
    arrived = list_arrived(1, "up")
    # Five standard deviations (21 packets) to either side.
    assert 4395 <= len(arrived) <= 4605
    assert list_arrived(1, "up") == arrived
    assert list_arrived(2, "up") != arrived
    assert list_arrived(1, "down") != arrived


def test_all_and_none_are_lost() -> None:
    assert list_arrived(1, "up", share=1) == []
    assert len(list_arrived(1, "up", share=0)) == 5000


def test_who_has_which_address_is_always_found_out() -> None:
    direction = Direction(Conditions(share=1, delay_ms=10), "up")
    send(direction, 5, kind=ARP)
    assert len(direction.take_due(0.006)) == 5


def test_what_is_lost_has_taken_its_time() -> None:
    direction = Direction(Conditions(rate_mbit=8, share=0.5), "up")
    send(direction, 100)
    direction.change(Conditions(rate_mbit=8))
    direction.take_due(0.1005)
    direction.offer(build_frame(0), 0.0)
    assert direction.next_due_s == pytest.approx(0.101)


def test_new_conditions_overtake_nobody() -> None:
    direction = Direction(Conditions(delay_ms=1000), "up")
    send(direction, 2)
    direction.change(Conditions(delay_ms=2))
    direction.offer(build_frame(2), 0.1)
    assert direction.take_due(0.2) == []
    assert read_numbers(direction.take_due(0.5)) == [0, 1, 2]


def test_garbage_is_declined() -> None:
    direction = Direction(Conditions(), "up")
    with pytest.raises(RemoteProtocolError):
        direction.offer(b"short", 0.0)


@pytest.mark.parametrize(
    "said",
    [
        {"share": 1.1},
        {"share": -0.1},
        {"delay_ms": "much"},
        {"rate_mbit": True},
        {"queue_kib": float("nan")},
        {"seed": 1.5},
    ],
)
def test_what_no_link_is_like_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(said))):
        parse_conditions({"laptop": 1, **said})
