"""What happens to a laptop: its cable, the packets on it, its disk, the token it has.

Packets can be lost but not delayed: that takes the kernel's netem, which isn't everywhere, and the
lab asks for nothing that isn't.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from ktnet.errors import HostNetworkError
from ktnet.lab.api.authentication import User
from ktnet.lab.faults.control import Arguments, Fault
from ktnet.lab.node.laptop import PRIVATE, Laptop
from ktnet.lab.node.network import explained, open_shared_links, run_nft

TABLE = "laptop-faults"
OF = 1000
"""Shares are counted in thousandths."""

LEAST_DISK_BYTES = 4096


class LaptopFaults:
    """Faults of machines beside the cluster, and of what they log in by."""

    def __init__(self, laptops: Mapping[int, Laptop], tokens: dict[str, User]) -> None:
        """`tokens` are those that the API server knows: it forgets them with their expiry."""
        self._laptops = laptops
        self._tokens = tokens
        self._expired: dict[str, User] = {}
        self._lost: dict[int, float] = {}
        self._full: set[int] = set()
        self._unplugged: set[int] = set()

    def list_faults(self) -> dict[str, Fault]:
        return {
            "cable": self.set_cable,
            "packets": self.lose_packets,
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

    async def lose_packets(self, arguments: Arguments) -> dict[str, Any]:
        """{"share": 0.05, "laptop": 1}: of the packets in each direction; 0 ends it."""
        number, share = self._choose(arguments), float(arguments.get("share") or 0)
        if not 0 <= share <= 1:
            raise ValueError("share: 0 to 1")
        lost = {**self._lost, number: share}
        await self._apply(lost)
        return {}

    async def _apply(self, lost: dict[int, float]) -> None:
        lost = {number: share for number, share in lost.items() if share}
        addresses = {str(self._laptops[n].address): share for n, share in lost.items()}
        await _tell_nft(build_losses(addresses))
        self._lost = lost

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
        if self._lost:
            await self._apply({})

    def _choose(self, arguments: Arguments) -> int:
        number = arguments.get("laptop") or 1
        if number not in self._laptops:
            raise ValueError(f"there is no laptop {number}")
        return int(number)


def build_losses(shares: Mapping[str, float]) -> str:
    """The whole table, as text for `nft -f -`: by address, which share of its packets is lost."""
    chains = []
    for name, hook, end in (
        ("from-laptops", "prerouting priority -350", "saddr"),
        ("to-laptops", "postrouting priority 350", "daddr"),
    ):
        rules = "".join(
            f"    ip {end} {address} {_build_chance(share)}drop\n"
            for address, share in shares.items()
        )
        chains.append(f"  chain {name} {{\n    type filter hook {hook}\n{rules}  }}\n")
    table = f"table ip {TABLE} {{\n{''.join(chains)}}}\n" if shares else ""
    # Made first where it isn't there, so that it can be deleted in any case.
    return f"table ip {TABLE}\ndelete table ip {TABLE}\n{table}"


def _build_chance(share: float) -> str:
    """What holds for that share of packets, at random; nothing where it is for all of them."""
    lost = round(share * OF)
    return f"numgen random mod {OF} < {lost} " if lost < OF else ""


async def _tell_nft(ruleset: str) -> None:
    try:
        await run_nft(ruleset)
    except HostNetworkError as error:
        raise ValueError(error.message) from error


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
