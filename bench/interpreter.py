"""How fast this machine interprets Python.

OpenSSH is C, and so a ratio to it depends on the machine besides on our code: where the interpreter
is slow beside cipher and kernel, so is ktnet beside `ssh`.
"""

import time

SLOW_MS = 42.0
"""For a million additions; so much and more is a slow one. Those measured took 50."""


def find_class() -> str:
    """`slow` or `fast`: by which of the expected ratios this machine is judged."""
    return "slow" if measure_ms() >= SLOW_MS else "fast"


def measure_ms() -> float:
    """Processor time of a million additions, the shortest of several: others load the machine."""
    return min(_add() for _ in range(9)) * 1000


def _add() -> float:
    began = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number
    return time.process_time() - began
