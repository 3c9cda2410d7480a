"""The text of /etc/resolv.conf: read it, write ours, take ours out of somebody's later version.

Pure. The format is that of resolv.conf(5): the last `search` or `domain` line wins, the first
three nameservers are asked, unknown lines are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ktnet.host.fields import is_domain
from ktnet.host.plan import ResolverPlan

MARKER = "# Written by ktnet, which puts the former file back when it ends."

MAX_NAMESERVERS = 3
"""MAXNS of resolv.h: the C library asks no more than these."""

MAX_OLD_SEARCH = 24
"""More search domains than any machine has, few enough for a request."""

STUB = "127.0.0.53"
"""Where systemd-resolved listens (systemd-resolved.service(8)). Behind it stand the servers of
/run/systemd/resolve/resolv.conf; asked through the stub, it would come back to us, because it
takes nameservers from a /etc/resolv.conf that is not its own."""


@dataclass(frozen=True)
class ResolvConf:
    """What a resolver's file says. `kept` are its lines other than nameservers and search."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    kept: tuple[str, ...]


def parse_resolv_conf(text: str, host_domain: str = "") -> ResolvConf:
    """What the file says to the C library.

    `host_domain` is what follows the first dot of the machine's name: the search domain of a file
    that has none. Never raises: the C library doesn't, either.
    """
    nameservers: list[str] = []
    search: tuple[str, ...] | None = None
    kept: list[str] = []
    for line in text.splitlines():
        words = line.split()
        match words[:1]:
            case ["nameserver"] if len(words) > 1 and _is_address(words[1]):
                nameservers.append(words[1])
            case ["search"]:
                search = tuple(words[1:])
            case ["domain"] if len(words) > 1:
                search = (words[1],)
            case ["options" | "sortlist"] if line.isprintable():
                kept.append(line)
            case _:
                pass
    if search is None:
        search = (host_domain,)
    domains = tuple(d.rstrip(".") for d in search if is_domain(d.rstrip(".")))
    return ResolvConf(
        tuple(dict.fromkeys(nameservers))[:MAX_NAMESERVERS], domains[:MAX_OLD_SEARCH], tuple(kept)
    )


def build_resolv_conf(plan: ResolverPlan, kept: tuple[str, ...]) -> str:
    """Our file: our nameserver only, so that no stub resolver goes past it."""
    lines = [MARKER, f"nameserver {plan.nameserver}"]
    if plan.search:
        lines.append("search " + " ".join(plan.search))
    return "\n".join([*lines, *kept]) + "\n"


def without_ours(text: str, plan: ResolverPlan) -> str | None:
    """Somebody's later version of our file, without what is ours.

    None where nothing is left that could resolve a name: then the former file is better.
    """
    lines: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if line == MARKER or words[:2] == ["nameserver", str(plan.nameserver)]:
            continue
        if words[:1] == ["search"]:
            theirs = [word for word in words[1:] if word not in plan.search]
            if theirs:
                lines.append("search " + " ".join(theirs))
            continue
        lines.append(line)
    rest = "\n".join(lines) + "\n"
    return rest if parse_resolv_conf(rest).nameservers else None


def is_ours(text: str) -> bool:
    """Whether some session wrote this, or a part of it."""
    return MARKER in text.splitlines()


def _is_address(text: str) -> bool:
    address, _, zone = text.partition("%")
    try:
        if zone:
            return bool(IPv6Address(address)) and zone.isprintable()
        return bool(IPv6Address(address) if ":" in address else IPv4Address(address))
    except ValueError:
        return False
