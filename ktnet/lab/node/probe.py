"""Asks a container whether it has started, is ready, and still lives.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Any

Obj = dict[str, Any]
Execute = Callable[[list[str]], Awaitable[int]]
"""Runs a command in the container; its exit code."""

MOST_STATUS_BYTES = 4096

EXTRA_PROBE_S = 0.1
"""While a container is not ready, a kubelet also asks whenever it hears of the pod, so also when
its own word that the container runs comes back to it (documentation of `periodSeconds`)."""


async def run_probes(
    container: Obj,
    address: IPv4Address,
    execute: Execute,
    *,
    started: Callable[[], None],
    report: Callable[[bool], None],
    failed: Callable[[Obj], None],
) -> None:
    """All probes of a container that runs, until cancelled.

    `started` is called once the startup probe says yes, `report` for each change of readiness, and
    `failed` with the probe by which the container is to end. Before it has started nobody asks the
    others.
    """
    startup, liveness = container.get("startupProbe"), container.get("livenessProbe")
    if startup is not None:
        if not await _outlast(startup, container, address, execute, wanted=True):
            failed(startup)
            return
        started()
    async with asyncio.TaskGroup() as tasks:
        if "readinessProbe" in container:
            tasks.create_task(run_probe(container, address, execute, report))
        if liveness is not None:
            await _outlast(liveness, container, address, execute, wanted=False)
            failed(liveness)


async def _outlast(
    probe: Obj, container: Obj, address: IPv4Address, execute: Execute, *, wanted: bool
) -> bool:
    """Asks until it has failed too often in a row (False) or, where that is wanted, until a yes."""
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    in_a_row = 0
    while True:
        if await ask_once(probe, container, address, execute):
            if wanted:
                return True
            in_a_row = 0
        else:
            in_a_row += 1
            if in_a_row >= probe.get("failureThreshold", 3):
                return False
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def run_probe(
    container: Obj, address: IPv4Address, execute: Execute, report: Callable[[bool], None]
) -> None:
    """Asks at once, once more, and then every period, until cancelled; reports each change."""
    probe = container["readinessProbe"]
    ready = False
    in_a_row = 0
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    period_s = probe.get("periodSeconds", 10)
    for pause_s in itertools.chain((EXTRA_PROBE_S,), itertools.repeat(period_s)):
        answer = await ask_once(probe, container, address, execute)
        in_a_row = in_a_row + 1 if answer != ready else 0
        threshold = probe.get("successThreshold", 1) if answer else probe.get("failureThreshold", 3)
        if in_a_row >= threshold:
            ready, in_a_row = answer, 0
            report(ready)
        await asyncio.sleep(pause_s)


async def ask_once(probe: Obj, container: Obj, address: IPv4Address, execute: Execute) -> bool:
    """One question; no answer in time is a no."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if "exec" in probe:
                return await execute(probe["exec"]["command"]) == 0
            if "tcpSocket" in probe:
                return await _connect(address, find_port(probe["tcpSocket"], container))
            if "httpGet" in probe:
                return 200 <= await get_status(probe["httpGet"], container, address) < 400
    except (OSError, TimeoutError, ValueError, LookupError):
        return False
    return False


def find_port(target: Obj, container: Obj) -> int:
    """A port's number, or that of the container's port of this name; ValueError without one."""
    port = target["port"]
    if isinstance(port, int):
        return port
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    return int(port)


async def _connect(address: IPv4Address, port: int) -> bool:
    _, writer = await asyncio.open_connection(str(address), port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def get_status(target: Obj, container: Obj, address: IPv4Address) -> int:
    """The status of an HTTP answer; 0 for what is none. Raises OSError, ValueError."""
    host = target.get("host") or str(address)
    port = find_port(target, container)
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    headers |= {each["name"]: each["value"] for each in target.get("httpHeaders") or ()}
    lines = [f"GET {target.get('path', '/')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Connection: close", "", ""]
    reader, writer = await asyncio.open_connection(host, port, limit=MOST_STATUS_BYTES)
    try:
        writer.write("\r\n".join(lines).encode())
        status = (await reader.readline()).split()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return int(status[1]) if len(status) >= 2 else 0
