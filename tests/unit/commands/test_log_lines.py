"""Both sides of a session in one log."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktnet.commands.events import MOST, Events, note_warnings
from ktnet.errors import UsageError
from ktnet.session.logs import (
    answer_logs,
    build_local_lines,
    build_shadow_lines,
    find_new,
    merge_lines,
)
from ktnet.wire.shadow import build_arming_line, build_host_key_line

KEY = "ssh-ed25519 " + "A" * 68


def test_both_sides_are_merged_by_time():
    local = build_local_lines(
        [{"at_s": 0.5, "text": "tunnel: up"}, {"at_s": 2.0, "text": "a\x1b[31m\nb"}]
    )
    shadow = build_shadow_lines(
        [
            build_host_key_line(KEY),
            build_arming_line(restores=True),
            "1970-01-01T00:00:01.000Z client attached peer=127.0.0.1",
            "Traceback",
        ]
    )
    assert [(line.at[17:23], line.side, line.text) for line in merge_lines(local, shadow)] == [
        ("00.500", "local", "tunnel: up"),
        ("01.000", "shadow", "client attached peer=127.0.0.1"),
        ("01.000", "shadow", "Traceback"),
        ("02.000", "local", "a [31m b"),
    ]


@given(st.lists(st.text()))
def test_whatever_a_pod_says_is_fit_for_a_terminal(lines):
    for line in build_shadow_lines(lines):
        assert line.text.isprintable()


@given(st.lists(st.integers(), unique=True), st.integers(0, 20), st.integers(1, 20))
def test_following_tells_each_line_once(numbers, seen, tail):
    """Two looks at a log, each at its end."""
    log = [f"line {number}" for number in numbers]
    first = log[:seen][-tail:]
    second = log[-tail:]
    told = first + find_new(second, first[-1] if first else None)
    overlaps = not first or first[-1] in second
    assert not overlaps or len(set(told)) == len(told)
    assert set(second) <= set(told)


def test_warnings_are_events_while_a_session_runs():
    events, log = Events(), logging.getLogger("ktnet.anything")
    with note_warnings(events):
        log.warning("%s is odd", "this")
        log.info("not of use")
    log.warning("later")
    assert [event["text"] for event in events.describe(0)] == ["this is odd"]


@pytest.mark.parametrize("request_", [{"after": "x"}, {"lines": -1}, {"lines": 10**9}])
def test_requests_out_of_bounds_are_refused(request_):
    with pytest.raises(UsageError):
        asyncio.run(answer_logs(request_, Events().describe, None))


def test_without_a_shadow_that_is_said():
    events = Events()
    for number in range(MOST + 1):
        events.add("note", str(number))
    reply = asyncio.run(answer_logs({}, events.describe, None))
    assert len(reply["local"]) == MOST
    assert reply["shadow"] == []
    assert reply["shadow_error"]
