from __future__ import annotations

from ktnet.wire.window import LARGEST_BYTES, SMALLEST_BYTES, TOTAL_BYTES, WindowBudget


def test_few_channels_get_large_windows_and_many_share():
    budget = WindowBudget()
    windows = [budget.take() for _ in range(1000)]
    assert windows[0] == LARGEST_BYTES
    assert windows == sorted(windows, reverse=True)
    assert windows[-1] == SMALLEST_BYTES
    assert sum(windows) <= TOTAL_BYTES + 1000 * SMALLEST_BYTES


def test_what_is_given_back_is_there_again():
    budget = WindowBudget()
    for window in [budget.take() for _ in range(1000)]:
        budget.give_back(window)
    assert budget.take() == LARGEST_BYTES
