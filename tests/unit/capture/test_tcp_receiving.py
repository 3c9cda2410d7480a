from __future__ import annotations

from playbook import PEER_SEQ, Play, brief

from ktnet.capture.budget import LARGEST_SHARE_BYTES, SMALLEST_SHARE_BYTES, TOTAL_BYTES, Budget
from ktnet.capture.commands import Deliver, FarSide, Finished, Send
from ktnet.capture.reassembly import PIECE_LIMIT
from ktnet.wire.tcp import ACK, FIN, PSH, RST, build_sack_option


def windows(play: Play) -> list[int]:
    """The windows announced by a flush, in bytes."""
    return [command.window << 7 for command in play.flush() if isinstance(command, Send)]


def test_one_acknowledgement_for_a_batch():
    play = Play().opened()
    assert play.gets(ACK, 1, 1, b"a" * 300) == b"a" * 300  # over the wrap
    assert play.gets(ACK | PSH, 301, 1, b"b" * 300) == b"b" * 300
    assert play.sends() == [(ACK, 1, 601, b"")]
    assert play.sends() == []


def test_an_acknowledgement_rides_on_data():
    play = Play().opened()
    play.gets(ACK, 1, 1, b"question")
    play.terminator.far_sent(b"answer")
    assert play.sends() == [(ACK | PSH, 1, 9, b"answer")]
    assert play.sends() == []


def test_what_came_ahead_is_kept_and_each_piece_asks_for_what_is_missing():
    play = Play().opened()
    for position in (101, 201, 301, 401, 501):
        assert play.gets(ACK, position, 1, bytes([position % 256]) * 100) is None
    assert play.budget.held_bytes == 500
    assert play.sends() == [(ACK, 1, 1, b"")] * 3
    assert play.gets(ACK, 1, 1, b"a" * 100) == b"a" * 100
    assert play.gets(ACK, 601, 1, b"z") is None  # behind what waits for the flush
    commands = play.flush()
    delivered = [c.data for c in commands if isinstance(c, Deliver)]
    assert delivered == [bytes([n % 256]) * 100 for n in (101, 201, 301, 401, 501)] + [b"z"]
    assert [brief(c) for c in commands if isinstance(c, Send)] == [(ACK, 1, 602, b"")]
    assert play.budget.held_bytes == 0


def test_what_came_ahead_is_named():
    play = Play(sack=True).opened()
    for position in (301, 101, 501, 151, 701, 901):
        play.gets(ACK, position, 1, bytes(100))
    first, *others = play.flush()
    assert others == [first, first]
    assert isinstance(first, Send)
    ranges = [(901, 1001), (101, 251), (301, 401), (501, 601)]
    seqs = [((PEER_SEQ + a) & 0xFFFFFFFF, (PEER_SEQ + b) & 0xFFFFFFFF) for a, b in ranges]
    assert first.options == build_sack_option(seqs)
    play.gets(ACK, 1, 1, bytes(100))
    (answer,) = play.flush()[-1:]
    assert isinstance(answer, Send)
    assert brief(answer)[2] == 251
    assert len(answer.options) == len(build_sack_option(seqs))  # 701 to 801 comes instead
    play.gets(ACK, 251, 1, bytes(700))
    (answer,) = play.flush()[-1:]
    assert isinstance(answer, Send)
    assert answer.options == b""
    assert brief(answer)[2] == 1001


def test_pieces_that_overlap():
    play = Play().opened()
    stream = bytes(range(1, 201))
    for first, last in ((51, 100), (51, 120), (40, 60), (110, 150), (190, 200), (51, 80)):
        play.gets(ACK, first, 1, stream[first - 1 : last])
    play.flush()
    assert play.gets(ACK, 1, 1, stream[:45]) == stream[:45]
    play.terminator.far_is_full(True)
    play.flush()
    assert play.budget.held_bytes == 105 + 11
    play.terminator.far_is_full(False)
    assert b"".join(c.data for c in play.flush() if isinstance(c, Deliver)) == stream[45:150]
    assert play.budget.held_bytes == 11
    assert play.gets(ACK | FIN, 151, 1, b"the end") == b"the end"  # nothing can follow it
    assert play.budget.held_bytes == 0


def test_no_more_is_kept_ahead_than_the_limits():
    play = Play().opened()
    for number in range(PIECE_LIMIT + 10):
        play.gets(ACK, 2 + 2 * number, 1, b"x")
    assert play.budget.held_bytes == PIECE_LIMIT
    play.gets(ACK, 2, 1, bytes(60_000))
    assert play.budget.held_bytes == PIECE_LIMIT + 59_999
    play.gets(RST, 1, 1)
    play.flush()
    assert play.budget.held_bytes == 0


def test_old_data_is_acknowledged_and_not_delivered_again():
    play = Play().opened()
    play.gets(ACK, 1, 1, b"abcdef")
    play.flush()
    assert play.gets(ACK, 1, 1, b"abcdef") is None
    assert play.sends() == [(ACK, 1, 7, b"")]
    assert play.gets(ACK, 4, 1, b"defghi") == b"ghi"
    assert play.sends() == [(ACK, 1, 10, b"")]


def test_keepalive_is_answered():
    play = Play().opened()
    assert play.gets(ACK, 0, 1) is None
    assert play.sends() == [(ACK, 1, 1, b"")]
    assert play.gets(ACK, 0, 1, b"?") is None  # with a byte of garbage, as some send
    assert play.sends() == [(ACK, 1, 1, b"")]


def test_a_bare_acknowledgement_is_not_acknowledged():
    play = Play().opened()
    play.gets(ACK, 1, 1)
    play.gets(ACK, 50, 1)  # something before it was lost: what it says counts still
    assert play.flush() == []


def test_a_segment_without_ack_is_ignored():
    play = Play().opened()
    assert play.gets(PSH, 1, 1, b"data") is None
    assert play.flush() == []


def test_the_window_closes_while_the_far_side_is_full_and_never_shrinks():
    play = Play().opened()
    play.gets(ACK, 1, 1, b"x")
    (promised,) = windows(play)
    assert promised == LARGEST_SHARE_BYTES
    right_edge = 2 + promised
    play.terminator.far_is_full(True)
    position = 2
    while position + 50000 < right_edge:
        assert play.gets(ACK, position, 1, bytes(50000)) is None
        position += 50000
        (window,) = windows(play)
        assert right_edge <= position + window < right_edge + 128
        right_edge = position + window
    assert play.budget.held_bytes == position - 2
    assert play.gets(ACK, position, 1, bytes(50000)) is None
    (window,) = windows(play)
    assert window == 0
    assert play.gets(ACK, right_edge, 1, b"beyond") is None
    assert play.sends() == [(ACK, 1, right_edge, b"")]

    play.terminator.far_is_full(False)
    commands = play.flush()
    delivered = b"".join(c.data for c in commands if isinstance(c, Deliver))
    assert delivered == bytes(right_edge - 2)
    (update,) = [c for c in commands if isinstance(c, Send)]
    assert update.window << 7 == LARGEST_SHARE_BYTES
    assert play.budget.held_bytes == 0


def test_an_end_beyond_the_window_has_to_be_repeated():
    play = Play(shift=None).opened()
    assert play.gets(ACK | FIN, 1, 1, bytes(65_536), window=3000) == bytes(65_535)
    assert play.sends() == [(ACK, 1, 65_536, b"")]
    assert play.gets(ACK | FIN, 65_536, 1, b"x", window=3000) == b"x"
    assert play.flush()[0] is FarSide.END


def test_nothing_beyond_the_window_is_kept_ahead():
    play = Play(shift=None).opened()
    play.gets(ACK, 65_001, 1, bytes(1000), window=3000)
    assert play.budget.held_bytes == 535


def test_end_waits_behind_what_the_far_side_has_not_taken():
    play = Play().opened()
    play.terminator.far_is_full(True)
    assert play.gets(ACK, 1, 1, b"last words") is None
    play.gets(ACK | FIN, 11, 1)
    assert play.sends() == [(ACK, 1, 12, b"")]
    play.terminator.far_is_full(False)
    assert play.flush()[:2] == [Deliver(b"last words"), FarSide.END]


def test_a_finished_application_leaves_its_bytes_for_the_far_side():
    play = Play().opened()
    play.terminator.far_is_full(True)
    play.gets(ACK | FIN, 1, 1, b"last words")
    play.terminator.far_ended()
    assert play.sends() == [(ACK | FIN, 1, 12, b"")]
    play.gets(ACK, 12, 2)
    assert play.flush() == []
    play.gets(RST, 12, 2)
    assert play.flush() == []
    play.terminator.far_is_full(False)
    assert play.flush() == [Deliver(b"last words"), FarSide.END, Finished(orderly=True)]


def test_windows_get_smaller_when_others_hold_much():
    budget = Budget()
    play = Play(budget=budget).opened()
    budget.held_bytes = TOTAL_BYTES
    play.gets(ACK, 1, 1, bytes(40000))
    play.flush()
    play.gets(ACK, 40001, 1, bytes(40000))
    (window,) = windows(play)
    assert window == SMALLEST_SHARE_BYTES


def test_nothing_more_is_kept_when_memory_is_overdrawn():
    budget = Budget()
    play = Play(budget=budget).opened()
    play.terminator.far_is_full(True)
    budget.held_bytes = 3 * TOTAL_BYTES
    assert play.gets(ACK, 1, 1, b"data") is None
    assert budget.held_bytes == 3 * TOTAL_BYTES
    assert play.sends() == [(ACK, 1, 1, b"")]


def test_data_after_the_peers_end_is_nonsense():
    play = Play().opened()
    play.gets(ACK | FIN, 1, 1)
    play.flush()
    assert play.gets(ACK, 2, 1, b"more") is None
    assert play.sends() == [(ACK, 1, 2, b"")]
