from __future__ import annotations

import pytest
from playbook import Play

from ktnet.capture.commands import FarSide, Finished
from ktnet.capture.tcp import TIME_WAIT_S, Phase
from ktnet.wire.tcp import ACK, FIN, RST


def test_the_application_ends_first():
    play = Play().opened()
    play.gets(ACK | FIN, 1, 1, b"bye")
    commands = play.flush()
    assert commands[0] is FarSide.END
    play.terminator.far_sent(b"still here")
    play.terminator.far_ended()
    assert [(flags, payload) for flags, *_, payload in play.sends()] == [
        (ACK | 0x08, b"still here"),
        (ACK | FIN, b""),
    ]
    play.terminator.far_closed(reset=False)
    assert play.flush() == []
    play.gets(ACK, 5, 12)
    assert play.flush() == [Finished(orderly=True)]


def test_the_far_side_ends_first():
    play = Play().opened()
    play.terminator.far_ended()
    assert play.sends() == [(ACK | FIN, 1, 1, b"")]
    play.gets(ACK, 1, 2)
    assert play.gets(ACK, 1, 2, b"half open") == b"half open"
    play.gets(ACK | FIN, 10, 2)
    commands = play.flush()
    assert commands[0] is FarSide.END
    assert len(commands) == 2
    assert play.terminator.phase is Phase.TIME_WAIT
    play.gets(ACK | FIN, 10, 2)  # our last packet was lost
    assert play.sends() == [(ACK, 2, 11, b"")]
    assert play.terminator.deadline_s == play.now_s + TIME_WAIT_S
    play.times_out()
    assert play.flush() == [Finished(orderly=True)]


def test_both_end_at_once():
    play = Play().opened()
    play.terminator.far_ended()
    assert play.sends() == [(ACK | FIN, 1, 1, b"")]
    play.gets(ACK | FIN, 1, 1)
    assert play.sends() == [(ACK, 2, 2, b"")]
    assert play.terminator.phase is Phase.OPEN
    play.gets(ACK, 2, 2)
    assert play.flush() == []
    assert play.terminator.phase is Phase.TIME_WAIT
    play.times_out()
    assert play.flush() == [Finished(orderly=True)]


def test_a_repeated_end_is_delivered_once():
    play = Play().opened()
    play.gets(ACK | FIN, 1, 1)
    assert play.flush()[0] is FarSide.END
    play.gets(ACK | FIN, 1, 1)
    assert play.sends() == [(ACK, 1, 2, b"")]


def test_an_end_ahead_of_missing_bytes_is_not_one():
    play = Play().opened()
    play.gets(ACK | FIN, 5, 1)
    assert play.sends() == [(ACK, 1, 1, b"")]
    assert play.gets(ACK | FIN, 1, 1, b"byte") == b"byte"
    assert FarSide.END in play.flush()


def test_reset_by_the_application():
    play = Play().opened()
    play.terminator.far_sent(b"never read")
    play.flush()
    play.gets(RST, 1, 0)
    assert play.flush() == [FarSide.RESET, Finished(orderly=False)]
    assert play.budget.held_bytes == 0
    assert play.terminator.deadline_s is None


@pytest.mark.parametrize("position", [2, 1000, 60_000])
def test_a_reset_within_the_window_is_challenged(position):
    play = Play().opened()
    play.gets(RST | ACK, position, 1)
    assert play.sends() == [(ACK, 1, 1, b"")]
    assert play.terminator.phase is Phase.OPEN


@pytest.mark.parametrize("position", [0, -5000, 0x10000000])
def test_a_reset_outside_the_window_is_ignored(position):
    play = Play().opened()
    play.gets(RST, position, 1)
    assert play.flush() == []
    assert play.terminator.phase is Phase.OPEN


def test_reset_by_the_far_side_is_told_once():
    play = Play().opened()
    play.terminator.far_closed(reset=True)
    _, finished = play.flush()
    assert finished == Finished(orderly=False)
    assert play.gets(ACK, 1, 1, b"late") is None


def test_a_far_side_that_closes_before_the_application_has_ended_is_a_reset():
    play = Play().opened()
    play.terminator.far_closed(reset=False)
    assert play.sends() == [(RST | ACK, 1, 1, b"")]


def test_bytes_left_are_sent_after_an_orderly_close():
    play = Play().opened()
    play.gets(ACK | FIN, 1, 1, window=0)
    play.flush()
    play.terminator.far_sent(b"the rest")
    play.terminator.far_ended()
    play.terminator.far_closed(reset=False)
    assert play.sends() == []
    play.gets(ACK, 2, 1)
    assert [payload for *_, payload in play.sends()] == [b"the rest", b""]
    play.gets(ACK, 2, 10)
    assert play.flush() == [Finished(orderly=True)]


def test_abort_tells_both_sides():
    play = Play().opened()
    play.terminator.abort()
    commands = play.flush()
    assert commands[1:] == [FarSide.RESET, Finished(orderly=False)]


def test_abort_in_time_wait_tells_nobody():
    play = Play().opened()
    play.terminator.far_ended()
    play.flush()
    play.gets(ACK | FIN, 1, 2)
    play.flush()
    play.terminator.abort()
    assert play.flush() == [Finished(orderly=False)]


def test_time_wait_gives_way_to_a_new_connection():
    play = Play().opened()
    play.terminator.far_ended()
    play.flush()
    play.gets(ACK | FIN, 1, 2)
    play.flush()
    assert play.terminator.can_be_replaced
    play.terminator.peer_forgot()
    play.times_out()
    assert play.flush() == [Finished(orderly=True)]
