"""The journal: whole or not there, and a dead helper's is told from a living one's."""

import os
import signal
from pathlib import Path

import pytest

from ktnet.errors import HostNetworkError, HostPermissionError
from ktnet.host.journal import Journal, namespaces, open_directory, open_journals, remove_drafts
from ktnet.host.steps import LinkStep, parse_record

STEP = LinkStep("ktnet0", "ktnet:1-2")


def test_written_replaced_and_removed(tmp_path: Path) -> None:
    with open_directory(tmp_path / "journal") as directory:
        journal = Journal(directory)
        journal.write((STEP,))
        (path,) = directory.iterdir()
        assert path.name == f"{journal.name}.json"
        assert path.name.startswith(f"{os.getpid()}-")
        assert path.stat().st_mode & 0o777 == 0o600
        assert parse_record(path.read_bytes()).steps == (STEP,)
        journal.write((STEP, STEP))
        assert len(parse_record(path.read_bytes()).steps) == 2
        journal.remove()
        assert list(directory.iterdir()) == []
        journal.remove()


def test_a_living_helpers_journal_is_alive_also_after_it_was_replaced(tmp_path: Path) -> None:
    with open_directory(tmp_path / "journal") as directory:
        journal = Journal(directory)
        for steps in ((), (STEP,)):
            journal.write(steps)
            with open_journals(directory) as found:
                (seen,) = found
            assert seen.alive
            assert seen.pid == str(os.getpid())
            assert seen.record is not None
            assert (seen.record.net, seen.record.mnt) == namespaces()
            assert seen.record.steps == steps
        journal.remove()


def test_a_killed_helpers_journal_is_dead(tmp_path: Path) -> None:
    with open_directory(tmp_path / "journal") as directory:
        pid = os.fork()
        if pid == 0:
            Journal(directory).write((STEP,))
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        with open_journals(directory) as found:
            (seen,) = found
            assert not seen.alive
            assert seen.pid == str(pid)
            with open_journals(directory) as others:
                assert others[0].alive  # while one mends it, it is nobody else's to mend


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\0" * 300_000, b'{"version": 2, "net": "n", "mnt": "m", "steps": []}'],
)
def test_garbage_has_no_record(tmp_path: Path, content: bytes) -> None:
    with open_directory(tmp_path / "journal") as directory:
        (directory / "1-2.json").write_bytes(content)
        with open_journals(directory) as found:
            assert [(seen.alive, seen.record) for seen in found] == [(False, None)]


def test_drafts_of_the_dead_are_removed(tmp_path: Path) -> None:
    with open_directory(tmp_path / "journal") as directory:
        # 4194304 is the highest pid that Linux gives (PID_MAX_LIMIT), plus one is nobody's.
        (directory / "4194305-1.new").write_bytes(b"half")
        mine = directory / f"{os.getpid()}-1.new"
        mine.write_bytes(b"half")
        remove_drafts(directory)
        assert list(directory.iterdir()) == [mine]


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal").chmod(0o777)
    with (
        pytest.raises(HostPermissionError, match="only root can write"),
        open_directory(tmp_path / "journal"),
    ):
        pass


def test_a_symlink_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "journal").symlink_to("elsewhere")
    with (
        pytest.raises(HostPermissionError, match="only root can write"),
        open_directory(tmp_path / "journal"),
    ):
        pass


def test_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostNetworkError, match="can't be written"):
        Journal(tmp_path / "nowhere").write((STEP,))
