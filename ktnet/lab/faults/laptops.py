"""What happens to a laptop: its cable, the packets on it, its disk, the token it has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from ktnet.errors import HostNetworkError
from ktnet.lab.api.authentication import User
from ktnet.lab.faults.control import Arguments, Fault
from ktnet.lab.node.laptop import PRIVATE, Laptop
from ktnet.lab.node.network import explained, open_shared_links
from ktnet.lab.shaping.conditions import parse_conditions
from ktnet.lab.shaping.shapers import Shapers

LEAST_DISK_BYTES = 4096


class LaptopFaults:
    """Faults of machines beside the cluster, and of what they log in by."""

    def __init__(
        self, laptops: Mapping[int, Laptop], tokens: dict[str, User], shapers: Shapers
    ) -> None:
        """`tokens` are those that the API server knows: it forgets them with their expiry."""
        self._laptops = laptops
        self._tokens = tokens
        self._expired: dict[str, User] = {}
        self._shapers = shapers
        self._full: set[int] = set()
        self._unplugged: set[int] = set()

    def list_faults(self) -> dict[str, Fault]:
        return {
            "cable": self.set_cable,
            "packets": self.shape_packets,
            "disk": self.fill_disk,
            "expire-token": self.expire,
            "renew-token": self.renew,
        }

    async def set_cable(self, arguments: Arguments) -> dict[str, Any]:
        """{"deed": "pull" | "plug", "laptop": 1}: the link loses its carrier, and has it again."""
        number, deed = self._choose(arguments), arguments.get("deed")
        if deed not in {"pull", "plug"}:
            raise ValueError(f"no such deed: {deed!r}")
        state = "down" if deed == "pull" else "up"
        async with open_shared_links() as links:
            for index in await links.link_lookup(ifname=self._laptops[number].link):
                with explained(f"set the link of laptop {number} {state}"):
                    await links.link("set", index=index, state=state)
        if deed == "pull":
            self._unplugged.add(number)
        else:
            self._unplugged.discard(number)
        return {}

    async def shape_packets(self, arguments: Arguments) -> dict[str, Any]:
        """{"laptop": 1} and the fields of Conditions: what its link is like from now on.

        Those that aren't named are as on a good link; none of them ends it. Says what has
        happened to packets so far, under whatever conditions.
        """
        link = self._laptops[self._choose(arguments)].link
        try:
            return await self._shapers.shape(link, parse_conditions(arguments))
        except HostNetworkError as error:
            raise ValueError(error.message) from error

    async def fill_disk(self, arguments: Arguments) -> dict[str, Any]:
        """{"deed": "fill" | "free", "laptop": 1}: its /run, where clients write down undoings."""
        number, deed = self._choose(arguments), arguments.get("deed")
        if deed not in {"fill", "free"}:
            raise ValueError(f"no such deed: {deed!r}")
        await _resize_run(self._laptops[number].pid, full=deed == "fill")
        if deed == "fill":
            self._full.add(number)
        else:
            self._full.discard(number)
        return {}

    async def expire(self, _: Arguments) -> dict[str, Any]:
        """All bearer tokens of people: whoever shows one is nobody, 401."""
        self._expired |= self._tokens
        self._tokens.clear()
        return {"tokens": len(self._expired)}

    async def renew(self, _: Arguments) -> dict[str, Any]:
        """They are good again."""
        self._tokens.update(self._expired)
        self._expired = {}
        return {}

    async def clear(self) -> None:
        """All of it is as it was."""
        await self.renew({})
        for number in list(self._unplugged):
            await self.set_cable({"deed": "plug", "laptop": number})
        for number in list(self._full):
            await self.fill_disk({"deed": "free", "laptop": number})
        await self._shapers.clear()

    def _choose(self, arguments: Arguments) -> int:
        number = arguments.get("laptop") or 1
        if number not in self._laptops:
            raise ValueError(f"there is no laptop {number}")
        return int(number)


async def _resize_run(pid: int, *, full: bool) -> None:
    """Gives the laptop's /run just the room that is taken, or as much as any has."""
    found = os.statvfs(f"/proc/{pid}/root{PRIVATE}")
    taken = max((found.f_blocks - found.f_bfree) * found.f_frsize, LEAST_DISK_BYTES)
    size = str(taken) if full else "50%"
    mount = await asyncio.create_subprocess_exec(
        *("nsenter", "--target", str(pid), "--mount"),
        *("mount", "-o", f"remount,size={size}", PRIVATE),
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await mount.communicate()
    if mount.returncode != 0:
        raise ValueError(f"mount refused: {complaint.decode().strip()}")
