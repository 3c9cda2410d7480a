from __future__ import annotations

import pytest

from ktnet.wire.window import (
    BUSY_S,
    FIRST_BYTES,
    GROWTH_BYTES,
    LARGEST_BYTES,
    SMALLEST_BYTES,
    TOTAL_BYTES,
    GrowthBudget,
    WindowBudget,
    WindowGrowth,
)


@pytest.mark.parametrize(
    ("take", "most"),
    [(WindowBudget.take, LARGEST_BYTES), (WindowBudget.take_first, FIRST_BYTES)],
)
def test_few_channels_get_large_windows_and_many_share(take, most):
    budget = WindowBudget()
    windows = [take(budget) for _ in range(1000)]
    assert windows[0] == most
    assert windows == sorted(windows, reverse=True)
    assert windows[-1] == SMALLEST_BYTES
    assert sum(windows) <= TOTAL_BYTES + 1000 * SMALLEST_BYTES


def test_what_is_given_back_is_there_again():
    budget = WindowBudget()
    for window in [budget.take() for _ in range(1000)]:
        budget.give_back(window)
    assert budget.take() == LARGEST_BYTES


def use(growth: WindowGrowth, count: int, took_s: float, now_s: float) -> int:
    """The window is used up so often, each time in so long; what it has grown by."""
    grown = 0
    for _ in range(count):
        now_s += took_s
        for _ in range(2):  # the peer is told of each half
            grown += growth.use(growth.window_bytes // 2, now_s)
    return grown


def test_a_window_that_is_used_up_quickly_grows_to_the_largest():
    growth = WindowGrowth(SMALLEST_BYTES, GrowthBudget(), 0.0)
    assert use(growth, 1, 0.1, 0.0) == SMALLEST_BYTES
    assert growth.window_bytes == 2 * SMALLEST_BYTES
    use(growth, 20, 0.1, 0.1)
    assert growth.window_bytes == LARGEST_BYTES


def test_a_window_that_lasts_stays_as_it_is():
    growth = WindowGrowth(SMALLEST_BYTES, GrowthBudget(), 0.0)
    assert use(growth, 20, 2 * BUSY_S, 0.0) == 0
    assert growth.use(1, 100.0) == 0


def test_all_windows_of_a_connection_together_grow_by_no_more_than_there_is():
    budget = GrowthBudget()
    growths = [WindowGrowth(SMALLEST_BYTES, budget, 0.0) for _ in range(200)]
    grown = 0
    for turn in range(20):
        grown += sum(use(growth, 1, 0.1, turn) for growth in growths)
    assert grown <= GROWTH_BYTES
    assert budget.left_bytes == GROWTH_BYTES - grown
    # None is left out, and none has more than a busy one could have by itself.
    windows = [growth.window_bytes for growth in growths]
    assert min(windows) > SMALLEST_BYTES
    assert max(windows) <= LARGEST_BYTES
    for growth in growths:
        growth.end()
        growth.end()
    assert budget.left_bytes == GROWTH_BYTES
