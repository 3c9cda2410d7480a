"""The delays between attempts, told as a story: what happened, and how long to wait then."""

import pytest

from ktnet.link.backoff import FIRST_S, LONGEST_S, STABLE_S, Backoff


def delays(backoff, count, dice=1.0):
    return [backoff.next_delay_s(dice) for _ in range(count)]


def test_the_first_attempt_is_made_at_once_and_the_others_wait_longer_and_longer():
    waited = delays(Backoff(), 20)
    assert waited[:4] == [0, FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waited == sorted(waited)
    assert waited[-1] == LONGEST_S


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_half_of_a_delay_is_left_to_chance(dice):
    backoff = Backoff()
    certain = delays(Backoff(), 10)
    assert delays(backoff, 10, dice) == [each * (1 + dice) / 2 for each in certain]


def test_a_connection_that_lasted_makes_the_next_attempt_quick():
    backoff = Backoff()
    delays(backoff, 10)
    backoff.connected(100.0)
    backoff.broke(100.0 + STABLE_S)
    assert delays(backoff, 2) == [0, FIRST_S]


def test_one_that_broke_at_once_does_not():
    backoff = Backoff()
    delays(backoff, 3)
    for number in range(10):
        backoff.connected(100.0 + number)
        backoff.broke(100.5 + number)
    assert backoff.next_delay_s(1.0) == 4 * FIRST_S


def test_months_without_a_tunnel_overflow_nothing():
    assert delays(Backoff(), 100_000)[-1] == LONGEST_S
