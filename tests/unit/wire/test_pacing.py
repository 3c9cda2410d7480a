"""Bulk that is held back for somebody who waits: not for ever, not far below the path's rate."""

from __future__ import annotations

from collections import deque

import pytest

from ktnet.wire.pacing import LEAST_BYTES, Pacer

KIB = 1024


def simulate(rate, round_trip_s, step_bytes, window_bytes=4 << 20, seconds=20.0):
    """A path of `rate` bytes/s whose far end adjusts in steps; (bytes/s, most in flight later)."""
    pacer = Pacer()
    now_s = busy_until_s = 0.0
    arrivals: deque[tuple[float, int]] = deque()
    adjustments: deque[tuple[float, int]] = deque()
    taken = acknowledged = 0
    most = 0
    while now_s < seconds:
        room = pacer.room()
        room = window_bytes - pacer.in_flight if room is None else room
        room = min(room, pacer.piece(), window_bytes - pacer.in_flight)
        if room > 0:
            pacer.sent(room, now_s)
            busy_until_s = max(busy_until_s, now_s) + room / rate
            arrivals.append((busy_until_s + round_trip_s / 2, room))
            if now_s > seconds / 2:
                most = max(most, pacer.in_flight)
            continue
        assert arrivals or adjustments, "both ends wait for each other"
        if arrivals and (not adjustments or arrivals[0][0] <= adjustments[0][0]):
            now_s, count = arrivals.popleft()
            taken += count
            if taken >= step_bytes:
                adjustments.append((now_s + round_trip_s / 2, taken))
                taken = 0
        else:
            now_s, count = adjustments.popleft()
            pacer.acknowledged(count, now_s)
            acknowledged += count
    return acknowledged / now_s, most


@pytest.mark.parametrize("rate", [1e6, 1.25e7, 1e8])
@pytest.mark.parametrize("round_trip_s", [0.0002, 0.02, 0.1])
@pytest.mark.parametrize("step_bytes", [64 * KIB, 96 * KIB, 128 * KIB])
def test_the_path_stays_busy_and_its_queue_short(rate, round_trip_s, step_bytes):
    possible = min(rate, (4 << 20) / (round_trip_s + 0.001))
    reached, most = simulate(rate, round_trip_s, step_bytes)
    assert reached >= 0.8 * possible
    needed = rate * round_trip_s
    assert most <= 5 * max(needed, step_bytes, LEAST_BYTES)


@pytest.mark.parametrize("step_bytes", [1 << 20, 2 << 20])
def test_a_peer_that_adjusts_by_half_windows_is_waited_for(step_bytes):
    reached, _ = simulate(1.25e7, 0.02, step_bytes)
    assert reached >= 0.8 * 1.25e7


def test_nothing_is_held_back_before_anything_is_known():
    pacer = Pacer()
    pacer.sent(1 << 20, 0.0)
    assert pacer.room() is None
