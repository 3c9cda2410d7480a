"""What `ktnet forward` is asked for, in words: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ktnet.errors import UsageError

_KINDS: dict[str, Literal["service", "pod"]] = {
    "svc": "service",
    "service": "service",
    "services": "service",
    "po": "pod",
    "pod": "pod",
    "pods": "pod",
}
"""The words of kubectl(1) for them."""


@dataclass(frozen=True)
class Target:
    """Where in the cluster."""

    kind: Literal["service", "pod", "host"]
    name: str
    """Of the object; of a "host" the address, or a name that the cluster resolves."""

    def __str__(self) -> str:
        return self.name if self.kind == "host" else f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Forward:
    """One local port that leads to one port there."""

    target: Target
    local_port: int
    """0: any free one."""
    remote_port: int


def parse_forwards(words: Sequence[str]) -> tuple[Forward, ...]:
    """`TARGET [LOCAL:]REMOTE ...`, again and again. UsageError where it isn't that."""
    forwards: list[Forward] = []
    target: Target | None = None
    has_ports = True
    for word in words:
        ports = _parse_ports(word)
        if ports is None:
            if not has_ports:
                raise UsageError(f"no port is given for {target}")
            target, has_ports = _parse_target(word), False
        elif target is None:
            raise UsageError(f"{word!r} comes first: which target is that a port of?")
        else:
            forwards.append(Forward(target, *ports))
            has_ports = True
    if not has_ports or target is None:
        raise UsageError(f"no port is given for {target}" if target else "nothing to forward to")
    taken: set[int] = set()
    for forward in forwards:
        if forward.local_port and forward.local_port in taken:
            raise UsageError(f"local port {forward.local_port} is asked for twice")
        taken.add(forward.local_port)
    return tuple(forwards)


def _parse_ports(word: str) -> tuple[int, int] | None:
    """(local, remote); None where `word` isn't of that form."""
    local, separator, remote = word.rpartition(":")
    texts = (local or "0" if separator else remote, remote)
    if not all(text.isascii() and text.isdigit() for text in texts):
        return None
    ports = int(texts[0]), int(texts[1])
    if not (0 <= ports[0] <= 0xFFFF and 0 < ports[1] <= 0xFFFF):
        raise UsageError(f"{word!r}: ports are numbers from 1 to 65535")
    return ports


def _parse_target(word: str) -> Target:
    kind, separator, name = word.partition("/")
    if not separator:
        return Target("host", word)
    if kind not in _KINDS or not name or "/" in name:
        raise UsageError(
            f"{word!r} is no target",
            hint="svc/NAME, pod/NAME, an address, or a name of the cluster",
        )
    return Target(_KINDS[kind], name)
