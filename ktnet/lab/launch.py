"""Starting, ending and asking labs: what `ktnet lab` does on the outside of the daemon."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from ktnet.errors import (
    KtnetError,
    NotFound,
    RemoteProtocolError,
    UsageError,
)
from ktnet.lab.control import ask
from ktnet.lab.entering import find_lab, require_root
from ktnet.lab.residents import end_residents
from ktnet.lab.state import LabDirectory, Process, list_labs
from ktnet.lab.topology import MOST_LAPTOPS

READY_TIMEOUT_S = 60.0
"""Three seconds on an idle machine; many labs at once on a small one take longer."""

END_TIMEOUT_S = 20.0
"""What lives in the laptops gets its grace first."""

LOG_TAIL_LINES = 15


class LabFailed(KtnetError):
    """The lab's daemon could not start, or could not be ended."""


@dataclass(frozen=True)
class Started:
    """A running lab; `new` where it was started just now."""

    new: bool
    kubeconfig: Path
    seconds: float


def start_lab(name: str, laptops: int) -> Started:
    """Starts a lab, or finds it running already; returns when it is ready."""
    require_root()
    if not 1 <= laptops <= MOST_LAPTOPS:
        raise UsageError(f"a lab has 1 to {MOST_LAPTOPS} laptops")
    directory = LabDirectory(name)
    started_s = time.monotonic()
    with directory.lock():
        if directory.read_running() is not None:
            return Started(False, directory.kubeconfig, 0.0)
        _clean(directory)
        try:
            _start_daemon(directory, laptops)
        except BaseException:
            _end_daemon(directory)
            _clean(directory)
            raise
    return Started(True, directory.kubeconfig, time.monotonic() - started_s)


def stop_lab(name: str) -> bool:
    """Ends a lab and all that lives in it; False where there was none."""
    require_root()
    directory = LabDirectory(name)
    with directory.lock():
        existed = any(directory.path.iterdir())
        _end_daemon(directory)
        _clean(directory)
    return existed


def describe_labs(name: str | None) -> list[dict[str, Any]]:
    """What each running lab says of itself; of one lab, or of all."""
    require_root()
    names = [name] if name is not None else list_labs()
    found = []
    for each in names:
        directory = LabDirectory(each)
        # One that is just starting or ending doesn't answer.
        with contextlib.suppress(NotFound):
            if directory.read_running() is not None:
                found.append(dict(ask(directory.socket, {"do": "status"})))
    return found


def parse_roles(text: str) -> list[dict[str, Any]]:
    """The Roles and ClusterRoles of a YAML file, also those in Lists; raises UsageError."""
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"no YAML: {error}") from error
    found = []
    for document in documents:
        items = document.get("items", [document]) if isinstance(document, dict) else [document]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UsageError("a role is an object with `kind` and `rules`")
        found += items
    return found


def add_user(
    name: str,
    user: str,
    *,
    roles: Sequence[dict[str, Any]],
    groups: Sequence[str] = (),
    namespace: str = "demo",
    certificate: bool = False,
) -> Path:
    """The kubeconfig of a new user of a running lab, who has these Roles and no other right.

    Raises NotFound where there is no such lab, UsageError where it refuses.
    """
    require_root()
    directory, _ = find_lab(name)
    request = {
        "do": "user",
        "user": user,
        "roles": list(roles),
        "groups": list(groups),
        "namespace": namespace,
        "certificate": certificate,
    }
    try:
        return Path(ask(directory.socket, request))
    except RemoteProtocolError as error:
        raise UsageError(error.message) from error


def _start_daemon(directory: LabDirectory, laptops: int) -> None:
    """Starts the daemon and waits until it says that it is ready."""
    reader, writer = os.pipe()
    try:
        daemon = os.fork()
        if daemon == 0:
            _become_daemon(directory, laptops, writer)
    finally:
        os.close(writer)
    # If it gets ready it goes on by itself: this process doesn't wait for its end.
    try:
        _wait_until_ready(directory, reader)
    except BaseException:
        os.kill(daemon, signal.SIGKILL)
        os.waitpid(daemon, 0)
        raise
    finally:
        os.close(reader)


def _become_daemon(directory: LabDirectory, laptops: int, writer: int) -> NoReturn:
    """In a fork, which has loaded already what the process it comes from had."""
    code = 1
    try:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        log = os.open(directory.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        for target in (1, 2):
            os.dup2(log, target)
        for other in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            # Not closed, since their owners, which this process has too, may do so when another
            # descriptor has that number.
            if other not in {1, 2, null, writer}:
                with contextlib.suppress(OSError):
                    os.dup2(null, other, inheritable=other == 0)
        from ktnet.lab.daemon import serve  # noqa: PLC0415 -- only a new lab needs it all

        gc.freeze()  # what is loaded is no garbage, and the memory of it stays shared
        code = serve(directory.name, laptops, writer)
    except BaseException:
        traceback.print_exc()
    finally:
        # Python's own end, object by object, would take a fifth of a second.
        os._exit(code)


def _wait_until_ready(directory: LabDirectory, reader: int) -> None:
    """Reads the daemon's one line: ready, or what went wrong."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline_s - time.monotonic()))
        part = os.read(reader, 65536) if ready else b""
        if not part:
            why = "ended while it started" if ready else f"is not ready after {READY_TIMEOUT_S} s"
            raise LabFailed(f"the lab's daemon {why}:\n{read_tail(directory.log)}")
        said += part
    answer = json.loads(said)
    if "error" in answer:
        raise LabFailed(str(answer["error"]), hint=str(answer.get("hint", "")))


def read_tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "(it logged nothing)"
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])


def _end_daemon(directory: LabDirectory) -> None:
    """Asks the daemon to end, and makes it if it doesn't."""
    state = directory.read_running()
    if state is None:
        return
    try:
        descriptor = os.pidfd_open(state.daemon.pid)
    except ProcessLookupError:
        return
    try:
        if not state.daemon.is_alive():
            return
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], END_TIMEOUT_S)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [])
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _clean(directory: LabDirectory) -> None:
    """What a daemon that was killed has left: commands in its laptops, and files."""
    state = directory.read_state()
    if state is not None and state.laptops:
        end_residents([laptop.netns_cookie for laptop in state.laptops])
        _wait_for_end([laptop.holder for laptop in state.laptops])
    directory.empty()


def _wait_for_end(processes: list[Process]) -> None:
    """The kernel kills them with the daemon; this only waits for it."""
    deadline_s = time.monotonic() + END_TIMEOUT_S
    for process in processes:
        while process.is_alive():
            if time.monotonic() > deadline_s:
                raise LabFailed(f"process {process.pid} of the lab does not end")
            time.sleep(0.01)
