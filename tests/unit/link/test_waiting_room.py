"""Who waits for the tunnel, told as a story with the time at its margin."""

from ktnet.link.waiting import WaitingRoom


def test_whoever_waits_too_long_leaves_in_time_and_in_order():
    room = WaitingRoom(10.0)
    assert room.next_deadline_s is None
    room.enter("a", 0.0)
    room.enter("b", 3.0)
    assert room.next_deadline_s == 10.0
    assert room.take_impatient(9.9) == []
    assert room.take_impatient(10.0) == ["a"]
    assert room.next_deadline_s == 13.0
    assert room.take_impatient(99.0) == ["b"]
    assert room.next_deadline_s is None


def test_all_are_let_in_at_once():
    room = WaitingRoom(10.0)
    for guest in "cab":
        room.enter(guest, 1.0)
    room.leave("a")
    room.leave("nobody")
    assert room.take_all() == ["c", "b"]
    assert len(room) == 0


def test_who_comes_again_waits_anew_behind_the_others():
    room = WaitingRoom(10.0)
    room.enter("a", 0.0)
    room.enter("b", 1.0)
    room.leave("a")
    room.enter("a", 2.0)
    assert room.take_impatient(11.0) == ["b"]
    assert room.take_impatient(12.0) == ["a"]
