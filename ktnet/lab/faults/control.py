"""What the control socket can be asked for: {"do": "fault", "what": ..., and its arguments}."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from ktnet.lab.api.server import ApiServer
from ktnet.lab.dns.cluster import ClusterDns
from ktnet.lab.faults.requests import RequestFault

Arguments = dict[str, Any]
Fault = Callable[[Arguments], Awaitable[Any]]

LONGEST_DOWN_S = 3600.0


class FaultGroup(Protocol):
    """Faults of one kind, and their end."""

    def list_faults(self) -> dict[str, Fault]: ...

    async def clear(self) -> None: ...


class ApiFaults:
    """Faults of the API server and of what passes through it."""

    def __init__(self, server: ApiServer, laptops: Mapping[int, str]) -> None:
        """`laptops` gives the address of each laptop's number."""
        self._server = server
        self._laptops = laptops
        self._down: asyncio.Queue[float] = asyncio.Queue()

    async def run(self) -> None:
        """Starts the API server again when its time is over, until cancelled."""
        while True:
            await asyncio.sleep(await self._down.get())
            await self._server.listener.start()

    def list_faults(self) -> dict[str, Fault]:
        return {
            "forwards": self.disturb_forwards,
            "idle-timeout": self.set_idle_timeout,
            "restart-api": self.restart,
            "on-request": self.on_request,
            "show": self.show,
        }

    async def disturb_forwards(self, arguments: Arguments) -> dict[str, Any]:
        """{"deed": "cut" ..., "pod": "NAMESPACE/NAME", "laptop": 1}; says how many there were."""
        streams = self._server.streams
        pod = str(arguments.get("pod") or "")
        found = streams.select(pod=pod, peer=self._find_address(arguments))
        await streams.happen(str(arguments.get("deed")), found)
        return {"forwards": len(found)}

    async def set_idle_timeout(self, arguments: Arguments) -> dict[str, Any]:
        """{"seconds": 2.5}; 0 ends it."""
        self._server.streams.set_idle_timeout(_read_seconds(arguments))
        return {}

    async def restart(self, arguments: Arguments) -> dict[str, Any]:
        """{"seconds": 3}: down when this answers, up again by itself that much later."""
        seconds = _read_seconds(arguments)
        self._server.listener.drop_connections()
        await self._server.listener.stop()
        self._down.put_nowait(seconds)
        return {}

    async def on_request(self, arguments: Arguments) -> dict[str, Any]:
        """The fields of a RequestFault; {"laptop": 1} for its client."""
        known = ("deed", "number", "moment", "method", "path", "agent", "times", "status")
        fields = {key: arguments[key] for key in known if arguments.get(key) is not None}
        try:
            fault = RequestFault(**fields, client=self._find_address(arguments))
        except TypeError as error:
            raise ValueError(str(error)) from error
        self._server.faults.add(fault)
        return {}

    async def show(self, _: Arguments) -> dict[str, Any]:
        """The faults on requests with what they did, and the port-forwards that are open."""
        return {
            "requests": self._server.faults.describe(),
            "forwards": [
                {"pod": each.pod, "client": each.peer[0]} for each in self._server.streams.select()
            ],
        }

    def _find_address(self, arguments: Arguments) -> str:
        """Of the laptop that is meant; "": of any."""
        number = arguments.get("laptop")
        if number is None:
            return ""
        if number not in self._laptops:
            raise ValueError(f"there is no laptop {number}")
        return self._laptops[number]

    async def clear(self) -> None:
        """No more faults on requests, no idle timeout, and what was stalled goes on."""
        self._server.faults.clear()
        self._server.streams.set_idle_timeout(0)
        await self._server.streams.happen("resume", self._server.streams.select())


class DnsFaults:
    """Faults of the cluster's DNS."""

    def __init__(self, dns: ClusterDns) -> None:
        self._dns = dns

    def list_faults(self) -> dict[str, Fault]:
        return {"dns-forget": self.forget}

    async def forget(self, _: Arguments) -> dict[str, Any]:
        """What it remembers."""
        self._dns.forget()
        return {}

    async def clear(self) -> None:
        """None of them lasts."""


def build_fault_handler(*groups: FaultGroup) -> Callable[[Arguments], Awaitable[Any]]:
    """Finds the fault that "what" names; raises ValueError where there is none."""

    async def clear(_: Arguments) -> dict[str, Any]:
        for group in groups:
            await group.clear()
        return {}

    faults: dict[str, Fault] = {"clear": clear}
    for group in groups:
        faults |= group.list_faults()

    async def handle(request: Arguments) -> Any:
        fault = faults.get(str(request.get("what")))
        if fault is None:
            raise ValueError(f"no such fault: {request.get('what')!r}")
        try:
            return await fault(request)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"arguments that make no sense: {error}") from error

    return handle


def _read_seconds(arguments: Arguments) -> float:
    seconds = float(arguments.get("seconds") or 0)
    if not 0 <= seconds <= LONGEST_DOWN_S:
        raise ValueError(f"seconds: 0 to {LONGEST_DOWN_S:.0f}")
    return seconds
