"""Events of sessions that come and go."""

from __future__ import annotations

from typing import Any

from ktnet.dashboard.timeline import MOST, Timeline


def event(number: int) -> dict[str, Any]:
    return {"number": number, "at_s": float(number), "kind": "step", "text": f"step {number}"}


def texts(timeline: Timeline) -> list[str]:
    return [f"{each['of']}: {each['text']}" for each in timeline.list_events()]


def test_each_is_told_once() -> None:
    timeline = Timeline()
    timeline.look(1.0, {"a": [event(1), event(2)]}, {"a": "connect (1)"})
    assert timeline.seen("a") == 2
    timeline.look(2.0, {"a": [event(1), event(2), event(3)]}, {"a": "connect (1)"})
    assert texts(timeline) == ["connect (1): step 3", "connect (1): step 2", "connect (1): step 1"]


def test_what_ended_stays_and_says_so() -> None:
    timeline = Timeline()
    timeline.look(1.0, {"a": [event(1)]}, {"a": "connect (1)"})
    timeline.look(2.0, {}, {"a": "connect (1)"})  # it didn't answer
    timeline.look(3.0, {}, {})
    timeline.look(4.0, {}, {})
    assert texts(timeline) == ["connect (1): the session has ended", "connect (1): step 1"]
    assert timeline.seen("a") == 0


def test_the_oldest_are_forgotten_and_numbers_go_on() -> None:
    timeline = Timeline()
    timeline.look(1.0, {"a": [event(n) for n in range(1, MOST + 11)]}, {"a": "x"})
    kept = timeline.list_events()
    assert len(kept) == MOST
    assert (kept[0]["number"], kept[-1]["number"]) == (MOST + 10, 11)
