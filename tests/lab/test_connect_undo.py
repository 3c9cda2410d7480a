"""However `ktnet connect` ends, laptop and cluster are as they were."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ktnet.lab import census
from ktnet.lab.harness import KTNET, Lab, open_connection, open_lab

pytestmark = pytest.mark.lab

HOST_STATE = ("link", "address", "route", "rule", "/etc/resolv.conf", "/etc/hosts")
OBJECTS = ("jobs", "leases", "pods", "services", "secrets", "configmaps", "serviceaccounts")
IDLE_S = 5
TTL_S = 10
"""`ttlSecondsAfterFinished` of the session's Job."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"undo-{os.getpid()}") as lab:
        yield lab


def seconds_until(condition: Callable[[], bool], limit_s: float) -> float:
    """Polls until it holds; fails after `limit_s`."""
    start_s = time.monotonic()
    while not condition():
        assert time.monotonic() - start_s < limit_s, "it did not become true in time"
        time.sleep(0.02)
    return time.monotonic() - start_s


def differences(before: dict[str, Any], after: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    return [f"{k}: {before[k]!r} -> {after[k]!r}" for k in keys if before[k] != after[k]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_undo_everything(lab: Lab, number: signal.Signals) -> None:
    before = lab.census()
    with open_connection(lab) as connection:
        during = lab.census()
        assert differences(before, during, HOST_STATE + OBJECTS) != []
        assert connection.end(number) == 0
    assert differences(before, lab.census(), HOST_STATE + OBJECTS) == []


def test_disconnect_undoes_everything(lab: Lab) -> None:
    before = lab.census()
    with open_connection(lab) as connection:
        said = lab.run(*KTNET, "disconnect")
        assert f"pid {connection.pid}" in said
        assert connection.process.wait(5) == 0
    assert differences(before, lab.census(), HOST_STATE + OBJECTS) == []
    assert lab.run(*KTNET, "status") == "no sessions\n"


def test_sigkill_of_the_client_undoes_the_host_in_a_second(lab: Lab) -> None:
    before = lab.census()
    with open_connection(lab, "--idle", str(IDLE_S)) as connection:
        captured = lab.call(host_state)
        os.kill(connection.pid, signal.SIGKILL)
        connection.process.wait()
        took_s = lab.call(wait_for_host_state, before["route"], before["/etc/resolv.conf"]["text"])
        assert took_s < 1.0
    assert captured != host_state_of(before)
    assert differences(before, lab.census(), HOST_STATE) == []
    seconds_until(
        lambda: differences(before, lab.census(), OBJECTS) == [], limit_s=IDLE_S + TTL_S + 20
    )


def host_state() -> tuple[Any, str]:
    return census.ip("route"), census.file_state(Path("/etc/resolv.conf"))["text"]


def host_state_of(census: dict[str, Any]) -> tuple[Any, str]:
    return census["route"], census["/etc/resolv.conf"]["text"]


def wait_for_host_state(routes: Any, resolver: str) -> float:
    """Run on the laptop: how long until routes and resolver are these."""
    return seconds_until(lambda: host_state() == (routes, resolver), limit_s=5.0)


def test_interrupt_before_ready_leaves_nothing(lab: Lab) -> None:
    before = lab.census()
    process = subprocess.Popen(
        lab.exec(*KTNET, "connect", "-n", "demo"),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() != ""  # the first step is done, the shadow is on its way
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert differences(before, lab.census(), HOST_STATE + OBJECTS) == []


@pytest.mark.alone
def test_ready_in_three_seconds(lab: Lab) -> None:
    """The median of five: this machine may be busy with something else in one of them."""
    times_s = []
    for _ in range(5):
        with open_connection(lab) as connection:
            times_s.append(connection.ready_s)
            assert connection.end() == 0
    assert sorted(times_s)[2] < 3.0


def test_unknown_image_is_said_at_once(lab: Lab) -> None:
    before = lab.census()
    start_s = time.monotonic()
    done = subprocess.run(
        lab.exec(*KTNET, "connect", "-n", "demo", "--image", "registry.invalid/none:1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert "ErrImagePull" in done.stderr or "ImagePullBackOff" in done.stderr
    assert "KTNET_IMAGE" in done.stderr
    assert "--sideload" in done.stderr
    assert time.monotonic() - start_s < 10.0
    assert differences(before, lab.census(), HOST_STATE + OBJECTS) == []
