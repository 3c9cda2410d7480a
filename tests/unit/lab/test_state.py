"""A lab's directory: names, locks, who runs it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ktnet.errors import UsageError
from ktnet.lab.state import (
    LabDirectory,
    LabState,
    LaptopState,
    Process,
    identify,
    list_labs,
    read_start,
)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a b", "x" * 41])
def test_odd_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        LabDirectory(name, tmp_path)


def test_the_state_survives_the_file(tmp_path: Path) -> None:
    directory = LabDirectory("a", tmp_path / "labs")
    me = identify(os.getpid())
    state = LabState(me, (LaptopState("laptop-1", "192.168.64.10", Process(1, 2), 2**63),))
    with directory.lock():
        assert directory.read_state() is None
        directory.write_state(state)
        assert directory.state.stat().st_mode & 0o777 == 0o600
        assert directory.path.stat().st_mode & 0o777 == 0o700
    assert directory.read_running() == state
    assert list_labs(tmp_path / "labs") == ["a"]


def test_a_recycled_process_id_is_not_the_lab(tmp_path: Path) -> None:
    directory = LabDirectory("a", tmp_path / "labs")
    me = identify(os.getpid())
    with directory.lock():
        directory.write_state(LabState(Process(me.pid, me.start + 1)))
    assert directory.read_running() is None
    assert directory.read_state() is not None


def test_a_dead_process_has_no_start() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert read_start(child.pid) is None  # a zombie
    assert read_start(child.pid) is None
    with pytest.raises(ProcessLookupError):
        identify(child.pid)


def test_an_empty_directory_goes_with_the_lock(tmp_path: Path) -> None:
    base = tmp_path / "labs"
    directory = LabDirectory("a", base)
    with directory.lock():
        directory.log.write_text("x")
        (directory.path / "root").mkdir()
        (directory.path / "root" / "file").touch()
        assert directory.path.is_dir()
        directory.empty()
    assert not base.exists()
    assert list_labs(base) == []


def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(number: int) -> None:
        for _ in range(20):
            with LabDirectory("a", tmp_path / "labs").lock():
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) == 80
