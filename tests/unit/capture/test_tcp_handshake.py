from __future__ import annotations

from playbook import OUR_SEQ, PEER_SEQ, Play

from ktnet.capture.commands import FarSide, Finished, Send
from ktnet.capture.tcp import OUR_MSS, Phase
from ktnet.wire.tcp import ACK, FIN, RST, SYN, SynOptions, build_syn_options


def test_syn_ack_then_open():
    play = Play()
    (syn_ack,) = play.flush()
    assert isinstance(syn_ack, Send)
    assert syn_ack.flags == SYN | ACK
    assert syn_ack.seq == OUR_SEQ
    assert syn_ack.ack == PEER_SEQ + 1
    assert syn_ack.window == 0xFFFF  # never scaled in a SYN
    assert syn_ack.options == build_syn_options(SynOptions(OUR_MSS, 7))
    assert play.flush() == []
    play.gets(ACK, 1, 1)
    assert play.terminator.phase is Phase.OPEN
    assert play.flush() == []
    assert play.terminator.deadline_s is None


def test_no_window_scale_where_the_peer_has_none():
    play = Play(shift=None)
    (syn_ack,) = play.flush()
    assert isinstance(syn_ack, Send)
    assert syn_ack.options == build_syn_options(SynOptions(OUR_MSS, None))
    play.gets(ACK, 1, 1, window=3000)
    play.terminator.far_sent(bytes(5000))
    assert [len(payload) for *_, payload in play.sends()] == [3000]  # the window, unscaled
    assert play.gets(ACK, 1, 3001, b"x", window=3000) == b"x"
    commands = play.flush()
    assert all(isinstance(c, Send) and c.window == 0xFFFF for c in commands)
    assert play.flush() == []  # no window update after window update


def test_syn_ack_is_repeated_when_the_syn_is():
    play = Play()
    play.flush()
    play.gets(SYN, 0, 0)
    assert play.sends() == [(SYN | ACK, 0, 1, b"")]
    assert play.sends() == []


def test_syn_ack_is_repeated_in_growing_intervals_and_given_up():
    play = Play()
    play.flush()
    intervals = []
    while play.terminator.phase is Phase.SYN_RECEIVED:
        before = play.now_s
        play.times_out()
        intervals.append(round(play.now_s - before, 3))
        if play.terminator.phase is Phase.SYN_RECEIVED:
            assert play.sends() == [(SYN | ACK, 0, 1, b"")]
    assert intervals == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0]
    commands = play.flush()
    assert commands[1:] == [FarSide.RESET, Finished(orderly=False)]
    assert isinstance(commands[0], Send)
    assert commands[0].flags == RST | ACK


def test_data_from_the_far_side_waits_for_the_handshake():
    play = Play()
    play.terminator.far_sent(b"banner")
    play.terminator.far_ended()
    assert [flags for flags, *_ in play.sends()] == [SYN | ACK]
    play.gets(ACK, 1, 1)
    assert [payload for *_, payload in play.sends()] == [b"banner", b""]


def test_an_end_of_the_far_side_waits_for_the_handshake():
    play = Play()
    play.terminator.far_ended()
    assert play.sends() == [(SYN | ACK, 0, 1, b"")]
    assert play.flush() == []
    play.gets(ACK, 1, 1)
    assert play.sends() == [(ACK | FIN, 1, 1, b"")]


def test_data_with_the_last_packet_of_the_handshake():
    play = Play()
    play.flush()
    assert play.gets(ACK, 1, 1, b"request") == b"request"
    assert play.sends() == [(ACK, 1, 8, b"")]


def test_an_acknowledgement_of_nothing_does_not_open():
    play = Play()
    play.flush()
    assert play.gets(ACK, 1, 0, b"data") is None
    assert play.gets(ACK, 1, 2, b"data") is None
    assert play.terminator.phase is Phase.SYN_RECEIVED


def test_reset_instead_of_the_last_packet():
    play = Play()
    play.flush()
    play.gets(RST, 1, 0)  # the application had given up
    assert play.flush() == [FarSide.RESET, Finished(orderly=False)]


def test_a_far_side_that_resets_meanwhile():
    play = Play()
    play.flush()
    play.terminator.far_closed(reset=True)
    assert play.sends() == [(RST | ACK, 1, 1, b"")]


def test_a_new_syn_replaces_an_unanswered_connection_silently():
    play = Play()
    play.flush()
    assert play.terminator.can_be_replaced
    play.terminator.peer_forgot()
    assert play.flush() == [FarSide.RESET, Finished(orderly=False)]


def test_a_syn_on_an_open_connection_is_challenged():
    play = Play().opened()
    assert not play.terminator.can_be_replaced
    for position in (0, 1, 50, 0x40000000):  # RFC 5961 section 4
        assert play.gets(SYN, position, 0) is None
        assert play.sends() == [(ACK, 1, 1, b"")]
