"""The life of one container of a pod: pulled, started, watched, restarted, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktnet.lab.node.child import START_FAILED
from ktnet.lab.node.ending import Ending, end_process
from ktnet.lab.node.images import Image, build_pull_error
from ktnet.lab.node.launch import Launch
from ktnet.lab.node.log import ContainerLog
from ktnet.lab.node.pipes import open_log_pipe, open_null
from ktnet.lab.node.probe import run_probes
from ktnet.lab.node.process import build_exec_launch
from ktnet.lab.node.refusal import Refusal
from ktnet.lab.node.sandbox import Sandbox
from ktnet.lab.node.spawner import Process, Spawner, StartFailed
from ktnet.lab.node.status import ContainerFacts, build_terminated, format_time

Obj = dict[str, Any]

# https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy: the first
# restart comes at once (recorded in 03-defaulting/pod-status-crash), then after 10 s, doubling.
FIRST_DELAY_S = 10.0
MOST_DELAY_S = 300.0
FORGIVEN_AFTER_S = 600.0
"""A container that ran this long starts with the first delay again."""

SYNC_PERIOD_S = 10.0
"""A kubelet looks at a crashed container again after this long, and only then calls its waiting
CrashLoopBackOff (recorded in 03-defaulting/pod-status-crash: not yet after 6 s)."""

MOST_MESSAGE_BYTES = 4096
MESSAGE_LINES = 80
MESSAGE_LOG_BYTES = 2048

EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Plan:
    """What starting a container takes, made anew for each start."""

    launch: Launch
    termination_file: Path


class Container:
    """One container; `run` goes through its whole life.

    `plan` makes the Plan for an Image (raising Refusal), `changed` is called whenever the facts
    have changed.
    """

    def __init__(
        self,
        spec: Obj,
        *,
        pod_name: str,
        restart_policy: str,
        grace_s: float,
        images: dict[str, Image],
        spawner: Spawner,
        plan: Callable[[Obj, Image], Plan],
        changed: Callable[[], None],
    ) -> None:
        self.facts = ContainerFacts(spec)
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.process: Process | None = None
        self._launch: Launch | None = None
        self._spec = spec
        self._pod_name = pod_name
        self._restart_policy = restart_policy
        self._grace_s = grace_s
        self._images = images
        self._spawner = spawner
        self._plan = plan
        self._changed = changed
        self._stopping = asyncio.Event()
        self._killed = False
        self._ending: Ending | None = None

    async def run(self, sandbox: Sandbox) -> None:
        """Until it is not to be started again."""
        delay_s = 0.0
        while not self._stopping.is_set():
            image = await self._pull()
            if image is None:
                break
            began_s = time.monotonic()
            code = await self._run_once(image, sandbox)
            if code is None:
                await self._sleep(SYNC_PERIOD_S)
                continue
            if self._stopping.is_set() or not self._restarts_after(code):
                break
            if time.monotonic() - began_s > FORGIVEN_AFTER_S:
                delay_s = 0.0
            await self._back_off(delay_s)
            delay_s = min(delay_s * 2, MOST_DELAY_S) or FIRST_DELAY_S
        self.abandon()
        self._changed()

    def stop(self) -> None:
        """Its preStop hook, SIGTERM, and no restart."""
        self._stopping.set()
        if self._ending is not None:
            self._ending.ordered.set()

    def kill(self) -> None:
        """SIGKILL; a moment later where its hook has taken all the time."""
        self._killed = True
        if self._ending is not None:
            self._ending.overdue.set()

    def abandon(self) -> None:
        """Its pod has ended; where it never ran, nothing else will tell."""
        self.facts.over = True
        self.facts.ready = False
        if "waiting" in self.facts.state:
            # In a back-off: the last thing that happened counts.
            self.facts.state = self.facts.last_state or _never_started()
            self.facts.last_state = {}

    async def execute(
        self, command: list[str], streams: tuple[int, int, int], *, terminal: bool
    ) -> Process:
        """A process beside the container's own.

        Raises LookupError where the container does not run, FileNotFoundError or OSError where
        the command can't be started.
        """
        process, launch = self.process, self._launch
        missing = LookupError(f'container not found ("{self._spec["name"]}")')
        if process is None or launch is None:
            raise missing
        beside = build_exec_launch(
            command,
            directory=launch.directory,
            identity=launch.identity,
            variables=launch.environment,
            terminal=terminal,
        )
        try:
            return await self._spawner.spawn(
                beside, streams=streams, pid_namespace="joined", joined=[process.pidfd]
            )
        except ProcessLookupError as error:
            raise missing from error
        except StartFailed as error:
            if error.number:
                raise OSError(error.number, os.strerror(error.number)) from error
            raise OSError(str(error)) from error

    async def _pull(self) -> Image | None:
        """The image; None where there is none and the pod is to end."""
        name = self._spec["image"]
        delay_s = FIRST_DELAY_S
        while name not in self._images:
            if self._spec.get("imagePullPolicy") == "Never":
                message = f'Container image "{name}" is not present with pull policy of Never'
                self._set_waiting("ErrImageNeverPull", message)
                if await self._sleep(SYNC_PERIOD_S):
                    return None
                continue
            problem = build_pull_error(name)
            self._set_waiting("ErrImagePull", problem)
            if await self._sleep(min(delay_s, SYNC_PERIOD_S)):
                return None
            message = f'Back-off pulling image "{name}": ErrImagePull: {problem}'
            self._set_waiting("ImagePullBackOff", message)
            if await self._sleep(delay_s):
                return None
            delay_s = min(delay_s * 2, MOST_DELAY_S)
        return self._images[name]

    async def _run_once(self, image: Image, sandbox: Sandbox) -> int | None:
        """Starts it and waits for its end: the exit code, or None where it could not be made."""
        facts = self.facts
        try:
            plan = self._plan(self._spec, image)
        except Refusal as refusal:
            self._set_waiting(refusal.reason, refusal.message)
            return None
        self._begin_log()
        assert self.log is not None  # noqa: S101 -- just begun
        container_id = f"containerd://{secrets.token_hex(32)}"
        if facts.container_id:
            facts.restarts += 1
        if "terminated" in facts.state:
            facts.last_state = facts.state
        facts.container_id = container_id
        facts.identity = plan.launch.identity
        with contextlib.ExitStack() as open_files:
            output = open_files.enter_context(open_log_pipe(self.log))
            null = open_files.enter_context(open_null())
            try:
                process = await self._spawner.spawn(
                    plan.launch,
                    streams=(null, output.write_end, output.write_end),
                    pid_namespace="new",
                    joined=sandbox.namespaces,
                )
            except StartFailed as error:
                output.close_write_end()
                return self._set_start_failed(str(error), container_id)
            output.close_write_end()
            return await self._follow(process, plan, sandbox, container_id)

    async def _follow(
        self, process: Process, plan: Plan, sandbox: Sandbox, container_id: str
    ) -> int:
        """A container that has been started, to its end."""
        facts = self.facts
        started = format_time(time.time_ns())
        facts.state = {"running": {"startedAt": started}}
        facts.starting = "startupProbe" in self._spec
        facts.ready = "readinessProbe" not in self._spec and not facts.starting
        self.process = process
        self._launch = plan.launch
        self._changed()
        try:
            async with asyncio.TaskGroup() as tasks:
                attending = tasks.create_task(self._attend(process, sandbox))
                code = await process.wait()
                attending.cancel()
        finally:
            self.process = self._ending = None
            await process.end()
        assert self.log is not None  # noqa: S101 -- begun before the process
        await self.log.wait_for_end()
        finished = format_time(time.time_ns())
        message = self._read_message(plan.termination_file, code)
        facts.state = build_terminated(code, started, finished, container_id, message)
        facts.ready = False
        facts.over = self._stopping.is_set() or not self._restarts_after(code)
        self._changed()
        return code

    async def _attend(self, process: Process, sandbox: Sandbox) -> None:
        """Probes it, and ends it where it is to end."""
        ending = self._ending = Ending()
        # An order to end may have come before there was anything to signal.
        if self._stopping.is_set():
            ending.ordered.set()
        if self._killed:
            ending.overdue.set()

        async def execute(command: list[str]) -> int:
            with open_null() as null:
                process = await self.execute(command, (null,) * 3, terminal=False)
            try:
                return await process.wait()
            finally:
                await process.end()

        def report(ready: bool) -> None:
            self.facts.ready = ready
            self._changed()

        def start() -> None:
            self.facts.starting = False
            report("readinessProbe" not in self._spec)

        def fail(probe: Obj) -> None:
            ending.order(float(probe.get("terminationGracePeriodSeconds", self._grace_s)))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(end_process(process, ending, self._spec, sandbox.address, execute))
            await run_probes(
                self._spec, sandbox.address, execute, started=start, report=report, failed=fail
            )

    async def _back_off(self, delay_s: float) -> None:
        """Waits before a restart, and says so as late as a kubelet does."""
        if delay_s <= SYNC_PERIOD_S:
            await self._sleep(delay_s)
            return
        if await self._sleep(SYNC_PERIOD_S):
            return
        name = self._spec["name"]
        message = (
            f"back-off {_format_duration(delay_s)} restarting failed "
            f"container={name} pod={self._pod_name}"
        )
        self._set_waiting("CrashLoopBackOff", message)
        await self._sleep(delay_s - SYNC_PERIOD_S)

    async def _sleep(self, seconds: float) -> bool:
        """Whether the order to end came meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _restarts_after(self, code: int) -> bool:
        if self._restart_policy == "Always":
            return True
        return self._restart_policy == "OnFailure" and code != 0

    def _begin_log(self) -> None:
        if self.log is not None:
            self.previous_log = self.log
        self.log = ContainerLog()

    def _set_waiting(self, reason: str, message: str) -> None:
        if "terminated" in self.facts.state:
            self.facts.last_state = self.facts.state
        self.facts.state = {"waiting": {"reason": reason, "message": message}}
        self.facts.ready = False
        self._changed()

    def _set_start_failed(self, problem: str, container_id: str) -> int:
        message = (
            "failed to create containerd task: failed to create shim task: OCI runtime create "
            "failed: runc create failed: unable to start container process: error during container "
            f"init: {problem}"
        )
        finished = format_time(time.time_ns())
        state = build_terminated(START_FAILED, EPOCH, finished, container_id, message)
        state["terminated"]["reason"] = "StartError"
        self.facts.state = state
        self.facts.ready = False
        self.facts.over = not self._restarts_after(START_FAILED)
        self._changed()
        return START_FAILED

    def _read_message(self, path: Path, code: int) -> str:
        """The container's last words: its termination message, or the end of its log."""
        with contextlib.suppress(OSError):
            text = path.read_bytes()[:MOST_MESSAGE_BYTES]
            if text:
                return text.decode(errors="replace")
        fall_back = self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not fall_back or code == 0 or self.log is None:
            return ""
        tail = b"".join(line for _, line in self.log.lines[-MESSAGE_LINES:])
        return tail[-MESSAGE_LOG_BYTES:].decode(errors="replace")


def _never_started() -> Obj:
    """As a kubelet reports a container that it has no status of when its pod has ended."""
    return {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None,
            "finishedAt": None,
        }
    }


def _format_duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
