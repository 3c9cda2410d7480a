"""The queue of keys to look at."""

from ktnet.lab.controllers.loop import WorkQueue

A, B = ("demo", "a"), ("demo", "b")


def test_keys_come_when_they_are_due_in_order() -> None:
    queue = WorkQueue()
    queue.add(B, 2.0)
    queue.add(A, 1.0)
    assert queue.next_due_s() == 1.0
    assert queue.take(0.5) is None
    assert queue.take(3.0) == A
    assert queue.take(3.0) == B
    assert queue.take(3.0) is None
    assert queue.next_due_s() is None


def test_the_earliest_wish_for_a_key_wins() -> None:
    queue = WorkQueue()
    queue.add(A, 5.0)
    queue.add(A, 1.0)
    queue.add(A, 9.0)
    assert queue.take(1.0) == A
    assert queue.take(10.0) is None


def test_a_key_may_come_again() -> None:
    queue = WorkQueue()
    queue.add(A, 1.0)
    assert queue.take(1.0) == A
    queue.add(A, 2.0)
    assert queue.take(2.0) == A
