"""How the tests are shared among workers (pytest-xdist), where there are some.

A file's tests run one after the other in one worker, so that its labs are shared. What comes late
(`find_turn`) is one group more, handed out when all files are, and begins when the other workers
have ended: each holds a lock together with the others for as long as it lives, and that group
wants it for itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

LATE = "late"
SUMMARY = pytest.StashKey[list[tuple[str, list[str]]]]()
"""Sections to end the run's report with: of each its title and its lines."""


def find_turn(item: pytest.Item) -> int:
    """0 for what may run beside others; then what measures; then what looks back on the run."""
    if item.get_closest_marker("last"):
        return 2
    return 1 if item.get_closest_marker("alone") else 0


def is_worker(config: pytest.Config) -> bool:
    """Whether another process has started this one to run a part of the tests."""
    return hasattr(config, "workerinput")


def add_summary(config: pytest.Config, title: str, lines: list[str]) -> None:
    """A section at the end of the report, which workers don't write themselves."""
    config.stash.setdefault(SUMMARY, []).append((title, lines))


class FilesThenLate(LoadFileScheduling):
    """Which tests stay together: those of a file, and all that come late."""

    def __init__(self, config: pytest.Config, log: object, late: Path) -> None:
        """`late` will name the late tests, a line each, when the workers have collected."""
        super().__init__(config, log)
        self._path = late
        # In the order in which they were collected, that is with the late ones at the end.
        config.option.loadscopereorder = False

    @cached_property
    def _late(self) -> frozenset[str]:
        return frozenset(self._path.read_text().splitlines())

    def _split_scope(self, nodeid: str) -> str:
        return LATE if nodeid in self._late else super()._split_scope(nodeid)


class Workers:
    """pytest's hooks, in the workers and in the process that started them."""

    def __init__(self, config: pytest.Config, directory: Path) -> None:
        self._late = directory / "late"
        self._lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR)
        config.add_cleanup(self._unlock)
        if is_worker(config):
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _unlock(self) -> None:
        # Closing alone would leave it to whoever was forked meanwhile.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        os.close(self._lock)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if is_worker(session.config):
            draft = self._late.with_suffix(f".{os.getpid()}")
            draft.write_text("\n".join(each.nodeid for each in session.items if find_turn(each)))
            draft.rename(self._late)

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> FilesThenLate:
        return FilesThenLate(config, log, self._late)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # so a test's own time begins after the waiting
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if find_turn(item):
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if is_worker(session.config):
            session.config.workeroutput["summary"] = session.config.stash.get(SUMMARY, [])

    def pytest_testnodedown(self, node: object) -> None:
        told = getattr(node, "workeroutput", {}).get("summary", [])
        node.config.stash.setdefault(SUMMARY, []).extend(told)

    def pytest_terminal_summary(self, terminalreporter, config: pytest.Config) -> None:
        for title, lines in config.stash.get(SUMMARY, []):
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
