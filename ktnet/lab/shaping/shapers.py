"""Which laptops' links are worse than they are, and what was said of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from ktnet.errors import HostNetworkError
from ktnet.lab.shaping.conditions import Conditions
from ktnet.lab.shaping.splice import open_splice


class Shapers:
    """A process for each link that has conditions; the link is whole again when it ends."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: dict[str, tuple[Process, asyncio.Task[None]]] = {}
        self._changing = asyncio.Lock()

    async def shape(self, link: str, conditions: Conditions) -> dict[str, Any]:
        """Puts conditions on a link, or takes them off where they are none.

        Returns what the process has counted so far: packets by direction and fate, and the
        process's id; nothing where there is none. Raises HostNetworkError.
        """
        async with self._changing:
            if conditions.is_none:
                await self._end(link)
                return {}
            if link not in self._running:
                await self._begin(link)
            process, _ = self._running[link]
            return {"pid": process.pid, **await _tell(process, conditions)}

    async def clear(self) -> None:
        """All links are as they were."""
        async with self._changing:
            for link in list(self._running):
                await self._end(link)

    async def _begin(self, link: str) -> None:
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        task = self._tasks.create_task(self._run(link, started))
        process = await started
        self._running[link] = (process, task)

    async def _run(self, link: str, started: asyncio.Future[Process]) -> None:
        """The life of one process, and the link's repair after it, whatever ended it."""
        try:
            async with open_splice(link) as process:
                started.set_result(process)
                await process.wait()
        except HostNetworkError as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            self._running.pop(link, None)

    async def _end(self, link: str) -> None:
        if link in self._running:
            process, task = self._running[link]
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await task


async def _tell(process: Process, conditions: Conditions) -> dict[str, Any]:
    """Returns when they are in force; raises HostNetworkError where the process has ended."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 -- pipes
    process.stdin.write(json.dumps(asdict(conditions)).encode() + b"\n")
    line = await process.stdout.readline()
    if not line:
        raise HostNetworkError("the process that shapes a laptop's packets has ended")
    return dict(json.loads(line))


@contextlib.asynccontextmanager
async def open_shapers() -> AsyncIterator[Shapers]:
    """On leaving all of them are ended."""
    async with asyncio.TaskGroup() as tasks:
        shapers = Shapers(tasks)
        try:
            yield shapers
        finally:
            await shapers.clear()
