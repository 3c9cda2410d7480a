"""Rates and round trips over time."""

from __future__ import annotations

from typing import Any

from ktnet.dashboard.history import MOST_SAMPLES, History


def flows(up: int, down: int) -> dict[str, Any]:
    return {"flows": {"bytes_up": up, "bytes_down": down, "flows_open": 3}}


def test_a_rate_needs_two_looks() -> None:
    history = History()
    first = history.add(100.0, flows(1000, 5000), 0.01)
    assert (first.up_bytes_per_s, first.down_bytes_per_s) == (None, None)
    second = history.add(102.0, flows(3000, 5000), None)
    assert (second.up_bytes_per_s, second.down_bytes_per_s) == (1000.0, 0.0)
    assert (first.round_trip_s, second.round_trip_s) == (0.01, None)
    assert second.flows_open == 3


def test_counters_that_begin_anew_and_clocks_that_go_back_make_a_gap() -> None:
    history = History()
    history.add(100.0, flows(5000, 5000), None)
    assert history.add(101.0, flows(10, 10), None).up_bytes_per_s is None
    assert history.add(101.0, flows(20, 20), None).up_bytes_per_s is None
    assert history.add(50.0, flows(30, 30), None).up_bytes_per_s is None
    assert history.add(51.0, flows(40, 30), None).up_bytes_per_s == 10.0


def test_a_session_without_flows_has_none() -> None:
    sample = History().add(1.0, {"state": "connecting"}, None)
    assert (sample.flows_open, sample.up_bytes_per_s) == (0, None)


def test_the_oldest_are_forgotten() -> None:
    history = History()
    for second in range(MOST_SAMPLES + 50):
        history.add(float(second), flows(second, 0), None)
    kept = history.list_samples()
    assert len(kept) == len(history) == MOST_SAMPLES
    assert kept[0].at_s == 50.0
