"""The server's time from Date headers of whole seconds."""

from datetime import UTC, datetime
from email.utils import format_datetime

from ktnet.cluster.server.clock import ServerClock

START_S = datetime(2026, 11, 23, 8, 0, tzinfo=UTC).timestamp()


def date_at(server_s):
    return format_datetime(datetime.fromtimestamp(int(server_s), UTC), usegmt=True)


def test_knows_nothing_at_first():
    clock = ServerClock()
    assert clock.ahead_s == 0
    clock.observe("no date", 0, 0)
    clock.observe("", 0, 0)
    assert clock.read(START_S) == datetime.fromtimestamp(START_S, UTC)


def test_answers_narrow_the_difference():
    clock, ahead_s = ServerClock(), 130.4
    for step in range(20):
        sent_s = START_S + step * 1.13
        clock.observe(date_at(sent_s + 0.01 + ahead_s), sent_s, sent_s + 0.02)
    assert abs(clock.ahead_s - ahead_s) < 0.15
    assert abs((clock.read(START_S).timestamp() - START_S) - ahead_s) < 0.15


def test_a_clock_that_was_set_is_believed_again():
    clock = ServerClock()
    clock.observe(date_at(START_S), START_S, START_S + 0.01)
    clock.observe(date_at(START_S + 3600), START_S + 1, START_S + 1.01)
    assert abs(clock.ahead_s - 3599) < 1
