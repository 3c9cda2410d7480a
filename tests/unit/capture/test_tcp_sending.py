from __future__ import annotations

from playbook import MSS, Play

from ktnet.capture.budget import LARGEST_SHARE_BYTES
from ktnet.capture.commands import FarSide, Finished, Send
from ktnet.capture.sending import FIRST_TIMEOUT_S, LARGEST_PAYLOAD_BYTES
from ktnet.capture.tcp import IDLE_S, SMALLEST_MSS, Phase
from ktnet.wire.tcp import ACK, FIN, PSH, RST

WIDE = 0xFFFF  # eight megabytes with the shift


def pattern(length: int) -> bytes:
    return bytes(i % 251 for i in range(length))


def test_bytes_go_out_as_super_packets_of_whole_segments():
    play = Play().opened()
    play.gets(ACK, 1, 1, window=WIDE)
    data = pattern(150_000)
    play.terminator.far_sent(data[:100_000])
    play.terminator.far_sent(data[100_000:])
    sent = play.sends()
    whole = LARGEST_PAYLOAD_BYTES // MSS * MSS
    assert [len(payload) for *_, payload in sent] == [whole, whole, 150_000 - 2 * whole]
    assert [position for _, position, *_ in sent] == [1, 1 + whole, 1 + 2 * whole]
    assert [flags for flags, *_ in sent] == [ACK, ACK, ACK | PSH]
    assert b"".join(payload for *_, payload in sent) == data
    play.gets(ACK, 1, 150_001)
    assert play.budget.held_bytes == 0
    assert play.terminator.deadline_s is None


def test_many_small_pieces_make_one_packet():
    play = Play().opened()
    data = pattern(900)
    for byte in data:
        play.terminator.far_sent(bytes([byte]))
    assert play.sends() == [(ACK | PSH, 1, 1, data)]


def test_the_peers_window_is_kept():
    play = Play().opened()
    data = pattern(200_000)
    play.terminator.far_sent(data)
    assert sum(len(payload) for *_, payload in play.sends()) == 64_000
    play.gets(ACK, 1, 64_001, window=0)
    assert play.sends() == []
    play.gets(ACK, 1, 64_001, window=WIDE)
    assert sum(len(payload) for *_, payload in play.sends()) == 136_000


def test_slivers_of_window_are_left_until_something_is_acknowledged():
    play = Play().opened()
    play.terminator.far_sent(pattern(100_000))
    assert sum(len(payload) for *_, payload in play.sends()) == 64_000
    play.gets(ACK, 1, 1001, window=499)  # 128 bytes less than it acknowledges
    assert [len(payload) for *_, payload in play.sends()] == []
    play.gets(ACK, 1, 64_001, window=3)
    assert [len(payload) for *_, payload in play.sends()] == [384]


def test_what_is_lost_is_sent_again_after_a_while():
    play = Play().opened()
    play.terminator.far_sent(b"data")
    play.flush()
    play.times_out()
    assert play.sends() == [(ACK | PSH, 1, 1, b"data")]
    assert play.terminator.deadline_s == play.now_s + 2 * FIRST_TIMEOUT_S
    play.gets(ACK, 1, 5)
    play.terminator.far_sent(b"more")
    assert play.sends() == [(ACK | PSH, 5, 1, b"more")]
    assert play.terminator.deadline_s == play.now_s + FIRST_TIMEOUT_S


def test_three_duplicate_acknowledgements_are_enough():
    play = Play().opened()
    play.gets(ACK, 1, 1, window=WIDE)
    play.terminator.far_sent(pattern(200_000))
    sent = play.sends()
    for expected in ([], [], [sent[0]], [], []):
        play.gets(ACK, 1, 1, window=WIDE)
        assert play.sends() == expected
    play.gets(ACK, 1, sent[1][1], window=WIDE)  # the second is missing as well
    assert play.sends() == [sent[1]]
    play.gets(ACK, 1, 200_001, window=WIDE)
    assert play.sends() == []
    assert play.terminator.deadline_s is None


def test_duplicate_acknowledgements_of_what_is_being_repeated_mean_nothing_new():
    play = Play().opened()
    play.gets(ACK, 1, 1, window=WIDE)
    play.terminator.far_sent(pattern(200_000))
    sent = play.sends()
    play.times_out()
    assert play.sends() == [sent[0]]
    play.gets(ACK, 1, sent[1][1], window=WIDE)
    assert play.sends() == [sent[1]]
    for _ in range(5):
        play.gets(ACK, 1, sent[1][1], window=WIDE)
        assert play.sends() == []


def test_window_updates_are_not_duplicate_acknowledgements():
    play = Play().opened()
    play.terminator.far_sent(b"data")
    play.flush()
    for window in range(1, 6):
        play.gets(ACK, 1, 1, window=window)
        assert play.sends() == []
    for count in range(5):
        play.gets(ACK, 1 + count, 1, b"x", window=5)  # they carry data
        assert [payload for *_, payload in play.sends()] == [b""]


def test_an_acknowledgement_within_a_packet():
    play = Play().opened()
    play.terminator.far_sent(pattern(3000))
    play.flush()
    play.gets(ACK, 1, 1001)
    play.times_out()
    assert play.sends() == [(ACK | PSH, 1, 1, pattern(3000))]
    play.gets(ACK, 1, 3001)
    assert play.budget.held_bytes == 0


def test_a_closed_window_is_probed_for_as_long_as_the_peer_answers():
    play = Play().opened()
    play.gets(ACK, 1, 1, window=0)
    play.terminator.far_sent(b"data")
    assert play.sends() == []
    for _ in range(20):
        play.times_out()
        assert play.sends() == [(ACK, 0, 1, b"")]
        play.gets(ACK, 1, 1, window=0)
        assert play.sends() == []
    assert play.terminator.phase is Phase.OPEN
    play.gets(ACK, 1, 1, window=1)
    assert play.sends() == [(ACK | PSH, 1, 1, b"data")]
    assert play.terminator.deadline_s == play.now_s + FIRST_TIMEOUT_S


def test_a_peer_that_never_answers_is_given_up():
    play = Play().opened()
    play.terminator.far_sent(b"data")
    play.flush()
    began = play.now_s
    while play.terminator.phase is Phase.OPEN:
        play.times_out()
        commands = play.flush()
    assert commands[1:] == [FarSide.RESET, Finished(orderly=False)]
    assert 20 < play.now_s - began < 40
    assert play.budget.held_bytes == 0


def test_an_idle_peer_is_asked_and_given_up_in_the_end():
    play = Play().opened()
    play.waits(IDLE_S - 1)
    play.terminator.check_idle(play.now_s)
    assert play.flush() == []
    play.waits(2)
    play.terminator.check_idle(play.now_s)
    assert play.sends() == [(ACK, 0, 1, b"")]
    play.gets(ACK, 1, 1)
    play.terminator.check_idle(play.now_s)
    assert play.flush() == []
    play.waits(IDLE_S + 1)
    asked = 0
    while play.terminator.phase is Phase.OPEN:
        play.terminator.check_idle(play.now_s)
        asked += len(play.sends())
    assert asked == 9  # eight questions and the reset


def test_the_far_side_is_paused_while_the_application_does_not_read():
    play = Play().opened()
    play.gets(ACK, 1, 1, window=0)
    play.terminator.far_sent(bytes(LARGEST_SHARE_BYTES // 2))
    assert play.flush() == []
    play.terminator.far_sent(bytes(LARGEST_SHARE_BYTES // 2 + 1))
    assert play.flush() == [FarSide.PAUSE]
    play.terminator.far_sent(b"was on its way")
    assert play.flush() == []
    play.gets(ACK, 1, 1, window=WIDE)
    sent = sum(c.payload_bytes for c in play.flush() if isinstance(c, Send))
    play.gets(ACK, 1, 1 + 65_000, window=WIDE)
    assert play.flush() == []
    play.gets(ACK, 1, 1 + sent, window=WIDE)
    assert FarSide.RESUME in play.flush()


def test_an_acknowledgement_of_what_was_never_sent_is_answered_and_ignored():
    play = Play().opened()
    play.terminator.far_sent(b"data")
    play.flush()
    assert play.gets(ACK, 1, 6, b"forged") is None
    assert play.sends() == [(ACK, 5, 1, b"")]
    assert play.budget.held_bytes == 4


def test_an_acknowledgement_older_than_a_window_is_a_forgery():
    play = Play().opened()
    for first in range(0, 300_000, 50_000):
        play.terminator.far_sent(pattern(50_000))
        play.flush()
        play.gets(ACK, 1, first + 50_001)
    play.flush()
    assert play.gets(ACK, 1, 300_001 - 64_000, b"late") == b"late"
    assert play.gets(ACK, 5, 300_001 - 64_001, b"forged") is None
    assert play.sends() == [(ACK, 300_001, 5, b"")]


def test_tiny_segments_are_not_taken_literally():
    for mss in (0, 1, 87):
        play = Play(mss=mss).opened()
        play.terminator.far_sent(pattern(10_000))
        sizes = [len(payload) for *_, payload in play.sends()]
        assert sizes == [10_000]
        assert LARGEST_PAYLOAD_BYTES // SMALLEST_MSS * SMALLEST_MSS > 10_000


def test_end_follows_all_bytes_even_when_the_window_is_closed():
    play = Play().opened()
    play.gets(ACK, 1, 1, window=1)
    play.terminator.far_sent(pattern(1000))
    play.terminator.far_ended()
    assert [(flags, len(payload)) for flags, *_, payload in play.sends()] == [(ACK, 128)]
    play.gets(ACK, 1, 129, window=WIDE)
    assert [flags for flags, *_ in play.sends()] == [ACK | PSH, ACK | FIN]


def test_a_lost_end_is_sent_again():
    play = Play().opened()
    play.terminator.far_ended()
    assert play.sends() == [(ACK | FIN, 1, 1, b"")]
    play.times_out()
    assert play.sends() == [(ACK | FIN, 1, 1, b"")]


def test_reset_by_the_far_side_drops_what_was_not_sent():
    play = Play().opened()
    play.terminator.far_sent(pattern(100_000))
    sent = play.sends()
    play.terminator.far_closed(reset=True)
    assert play.sends() == [(RST | ACK, 1 + sum(len(p) for *_, p in sent), 1, b"")]
    assert play.budget.held_bytes == 0
