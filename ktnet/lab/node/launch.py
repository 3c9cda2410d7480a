"""What a new process is to become: what the kubelet hands to a fork of the zygote. Pure.

A `Launch` travels as JSON. Whoever reads it runs as root in a new process, so it holds nothing
that still needs a decision: every path, id and variable is final.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One thing in a container's root directory, put there in the order of the list."""

    kind: Literal["bind", "directory", "file", "link", "tmpfs", "devpts", "proc", "sys"]
    target: str
    """Absolute path in the container; parents are made (root's, 0755) where they are missing."""
    source: str = ""
    """bind: a path of the node. link: where it points. file: its text."""
    read_only: bool = False
    mode: int = 0o755


@dataclass(frozen=True)
class Identity:
    """Who a process is. `capabilities` is the mask of its bounding set (and, for uid 0, of its
    effective one); an ordinary user has none that are effective, as in any container."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int
    may_gain_privileges: bool
    filtered: bool = False
    """System calls are refused as by a container runtime's default (ktnet.lab.node.seccomp)."""


@dataclass(frozen=True)
class Launch:
    """One process: where it lives, who it is, what it runs.

    mount "new": a mount namespace with `entries` as its whole root directory. "layer": a mount
    namespace that is the node's with `entries` on top. "joined": that of the process joined.
    An empty `argv` makes a process that only waits, so that its namespaces stay.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    identity: Identity
    mount: Literal["new", "layer", "joined"]
    entries: tuple[Entry, ...] = ()
    read_only_root: bool = False
    new_network: bool = False
    terminal: bool = False
    """Its standard input is a terminal, to be its controlling one."""


def build_launch_message(launch: Launch) -> bytes:
    """JSON, for `parse_launch_message`."""
    return json.dumps(asdict(launch)).encode()


def parse_launch_message(data: bytes) -> Launch:
    """The inverse of `build_launch_message`."""
    fields = json.loads(data)
    fields["argv"] = tuple(fields["argv"])
    fields["entries"] = tuple(Entry(**entry) for entry in fields["entries"])
    identity = fields["identity"]
    fields["identity"] = Identity(**{**identity, "groups": tuple(identity["groups"])})
    return Launch(**fields)
