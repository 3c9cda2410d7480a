"""Replays all recordings once for a test run, and prints the table of what matched."""

from __future__ import annotations

import asyncio
import importlib
import os

import pytest
from drivers import SEED, list_left_out
from live import can_run, open_live
from recordings import find_recordings, load_cases
from replaying import Folder
from request_kinds import write_matched
from verdicts import build_table
from workers import add_summary

from ktnet.lab import harness

RESULTS = pytest.StashKey[list]()


async def _replay(driver, folder: Folder, running) -> None:
    # Side by side: both wait most of the time.
    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        tasks.create_task(driver.replay(folder))
        if running is not None:
            tasks.create_task(_replay_live(driver, folder, running))


async def _replay_live(driver, folder: Folder, running) -> None:
    async with open_live(folder, running) as lab:
        await driver.replay_live(lab)


@pytest.fixture(scope="session")
def running_lab():
    """A whole lab, for what kubelets and controllers do."""
    with harness.open_lab(f"replay-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="session")
def recordings():
    """The folder that holds the folders of recordings."""
    found = find_recordings()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("the recordings of a real Kubernetes are missing (KTNET_RECORDINGS)")
        pytest.skip("LEFT OUT: the recordings are not here; name them by KTNET_RECORDINGS")
    return found


@pytest.fixture(scope="session")
def replayed(request, recordings):
    """Gives the replayed folder of a driver's name; replays it when first asked."""
    done: dict[str, Folder] = {}

    def replay(name: str) -> Folder:
        if name not in done:
            driver = importlib.import_module(name)
            load = getattr(driver, "load", load_cases)
            cases = load(recordings / driver.FOLDER)
            folder = Folder(driver.FOLDER, cases, list_left_out(driver), SEED)
            # Known to the table from now on, even if the driver fails half way.
            done[name] = folder
            request.config.stash.setdefault(RESULTS, []).append(folder.results)
            live = hasattr(driver, "LIVE") and can_run()
            running = request.getfixturevalue("running_lab") if live else None
            asyncio.run(_replay(driver, folder, running))
            write_matched(name, folder.matched_kinds)
        return done[name]

    return replay


def pytest_sessionfinish(session):
    results = session.config.stash.get(RESULTS, None)
    if results:
        table = build_table(sorted(results, key=lambda each: each.folder))
        add_summary(session.config, f"replayed recordings (KTNET_REPLAY_SEED={SEED})", table)
