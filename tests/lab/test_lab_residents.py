"""The processes of a laptop are found by their network namespace and ended with it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ktnet.lab.residents import end_residents, find_residents, read_cookie, read_cookie_of

pytestmark = pytest.mark.lab

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1000 & wait; done"


@contextmanager
def open_process(*command: str, inside: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process in a network namespace of its own, or in that of another one; it said a line."""
    enter = (
        ["unshare", "--net"] if inside is None else ["nsenter", "--net", "--target", str(inside)]
    )
    process = subprocess.Popen([*enter, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_residents_are_found_and_others_are_not() -> None:
    with open_process("sh", "-c", "echo ready; exec sleep 1000") as holder:
        cookie = read_cookie_of(holder.pid)
        assert cookie != read_cookie()
        with open_process("sh", "-c", "echo ready; exec sleep 1000", inside=holder.pid) as guest:
            assert sorted(find_residents([cookie])) == sorted([holder.pid, guest.pid])
        assert os.getpid() not in find_residents([read_cookie()])
        assert find_residents([]) == []


def test_residents_end_the_stubborn_by_force_and_the_spared_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ktnet.lab.residents.GRACE_S", 0.3)
    with (
        open_process("sh", "-c", "echo ready; exec sleep 1000") as holder,
        open_process("sh", "-c", "echo ready; exec sleep 1000", inside=holder.pid) as polite,
        open_process("sh", "-c", STUBBORN, inside=holder.pid) as stubborn,
    ):
        cookie = read_cookie_of(holder.pid)
        end_residents([cookie], [holder.pid])
        assert polite.wait(5) == -signal.SIGTERM
        assert stubborn.wait(5) == -signal.SIGKILL
        assert holder.poll() is None
        end_residents([cookie])
        assert holder.wait(5) == -signal.SIGTERM
