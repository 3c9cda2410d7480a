from __future__ import annotations

import asyncio
import logging
import re
import sys

import pytest

from ktnet.shadow.log import (
    LINES_BETWEEN_HOST_KEYS,
    EventLog,
    escape,
    take_over_logging,
    take_over_loop,
)

EVENT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [ -~]+\n")


def new_log():
    lines = []
    return EventLog("ktnet-hostkey v1 KEY", lines.append), lines


def test_an_event_is_one_line_with_time_and_details():
    log, lines = new_log()
    log.event("client attached", peer="10.0.0.1", flows=3)
    (line,) = lines
    assert EVENT_LINE.fullmatch(line)
    assert line.endswith("Z client attached peer=10.0.0.1 flows=3\n")


def test_whatever_a_peer_sends_stays_on_the_line():
    log, lines = new_log()
    log.event("key refused", user="a\nktnet-hostkey v1 FORGED\r\x85\u2028\x0b\x0c\x1c\x1b[2J\\n")
    (line,) = lines
    assert EVENT_LINE.fullmatch(line)
    assert len(line.splitlines()) == 1
    assert r"a\nktnet-hostkey v1 FORGED\r\x85\u2028\x0b\x0c\x1c\x1b[2J\\n" in line


def test_long_values_are_cut():
    assert len(escape("\0" * 10**6)) < 1300


def test_the_host_key_comes_again_after_so_many_lines():
    log, lines = new_log()
    for _ in range(2 * LINES_BETWEEN_HOST_KEYS):
        log.event("x")
    at = [n for n, line in enumerate(lines) if line == "ktnet-hostkey v1 KEY\n"]
    assert at == [LINES_BETWEEN_HOST_KEYS, 2 * LINES_BETWEEN_HOST_KEYS + 1]


def test_saying_the_host_key_starts_the_count_anew():
    log, lines = new_log()
    for _ in range(LINES_BETWEEN_HOST_KEYS - 1):
        log.event("x")
    log.host_key()
    log.event("x")
    assert lines.count("ktnet-hostkey v1 KEY\n") == 1


def test_what_python_prints_by_itself_goes_the_same_way(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    log, lines = new_log()
    take_over_logging(log)
    logging.getLogger("asyncssh").warning("odd: %s", "a\nb")
    with pytest.raises(ValueError, match="x") as caught:
        int("x\nktnet-hostkey v1 FORGED")
    sys.excepthook(ValueError, caught.value, caught.tb)

    async def leave_an_exception_behind():
        loop = asyncio.get_running_loop()
        take_over_loop(log, loop)
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    asyncio.run(leave_an_exception_behind())
    assert len(lines) == 3
    assert all(EVENT_LINE.fullmatch(line) for line in lines)
    assert r"odd: a\nb logger=asyncssh" in lines[0]
    assert "test_shadow_log.py:" in lines[1]
    assert "ZeroDivisionError" in lines[2]
