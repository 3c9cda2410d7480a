"""Turns a container's spec into what a fork of the zygote is to become. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from ktnet.lab.node.environment import build_command, hostname_of
from ktnet.lab.node.etc import build_hosts, build_resolver
from ktnet.lab.node.images import Image
from ktnet.lab.node.launch import Entry, Identity, Launch

Obj = dict[str, Any]


def build_container_launch(
    pod: Obj,
    container: Obj,
    image: Image,
    *,
    identity: Identity,
    variables: Mapping[str, str],
    address: IPv4Address,
    mounts: Iterable[Entry],
    termination_file: Path,
) -> Launch:
    """A container's own process, in a root directory of its own; raises Refusal."""
    context = container.get("securityContext") or {}
    path = container.get("terminationMessagePath", "/dev/termination-log")
    entries = (
        *image.entries,
        Entry("file", "/etc/hostname", source=f"{hostname_of(pod)}\n", mode=0o644),
        Entry("file", "/etc/hosts", source=build_hosts(pod, address), mode=0o644),
        Entry("file", "/etc/resolv.conf", source=build_resolver(pod), mode=0o644),
        *mounts,
        Entry("bind", path, source=str(termination_file)),
    )
    return Launch(
        argv=build_command(container, image, variables),
        environment=dict(variables),
        directory=container.get("workingDir") or image.directory,
        identity=identity,
        mount="new",
        entries=entries,
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
    )


def build_exec_launch(
    command: Iterable[str],
    *,
    directory: str,
    identity: Identity,
    variables: Mapping[str, str],
    terminal: bool,
) -> Launch:
    """A process beside a container's own: the same identity, namespaces and variables."""
    more = {"TERM": "xterm"} if terminal else {}
    return Launch(
        argv=tuple(command),
        environment={**variables, **more},
        directory=directory,
        identity=identity,
        mount="joined",
        terminal=terminal,
    )
