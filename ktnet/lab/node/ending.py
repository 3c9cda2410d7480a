"""How a container's process ends when somebody wants it to: its hook, SIGTERM, SIGKILL.

https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/ and
.../workloads/pods/pod-lifecycle/#pod-termination-flow
"""

from __future__ import annotations

import asyncio
import logging
import signal
from ipaddress import IPv4Address
from typing import Any

from ktnet.lab.node.probe import Execute, get_status
from ktnet.lab.node.spawner import Process

Obj = dict[str, Any]
log = logging.getLogger(__name__)

LAST_GRACE_S = 2.0
"""What a process gets after a hook that took all of the grace (minimumGracePeriodInSeconds in
pkg/kubelet/kuberuntime/kuberuntime_container.go)."""


class Ending:
    """The wish that one run of a container ends, and that it ends at once."""

    def __init__(self) -> None:
        self.ordered = asyncio.Event()
        self.overdue = asyncio.Event()

    def order(self, grace_s: float) -> None:
        """From now on it has so long to end by itself."""
        self.ordered.set()
        asyncio.get_running_loop().call_later(grace_s, self.overdue.set)


async def end_process(
    process: Process, ending: Ending, container: Obj, address: IPv4Address, execute: Execute
) -> None:
    """Waits for the order, and carries it out; until cancelled, as the process's end does."""
    await ending.ordered.wait()
    hook = (container.get("lifecycle") or {}).get("preStop")
    if hook is not None and not ending.overdue.is_set():
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(_run_hook(hook, container, address, execute))
            waiting = tasks.create_task(ending.overdue.wait())
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            running.cancel()
            waiting.cancel()
        if ending.overdue.is_set():
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(LAST_GRACE_S)
    if not ending.overdue.is_set():
        process.send_signal(signal.SIGTERM)
        await ending.overdue.wait()
    process.send_signal(signal.SIGKILL)


async def _run_hook(hook: Obj, container: Obj, address: IPv4Address, execute: Execute) -> None:
    """Whatever comes of it: a hook that fails doesn't keep its container."""
    try:
        if "exec" in hook:
            await execute(hook["exec"]["command"])
        elif "httpGet" in hook:
            await get_status(hook["httpGet"], container, address)
        elif "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
    except (OSError, ValueError, LookupError) as error:
        log.warning("a preStop hook of container %s failed: %s", container["name"], error)
