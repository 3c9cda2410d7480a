"""Which ports of the cluster become which of this machine's: `--expose`, and what it leaves open.

    [HOST:]LOCAL[:REMOTE][,...]

LOCAL is a port of this machine (or of HOST, reached from it). REMOTE is the port of the pod that
is replaced, by number or by the name that its container gives it; where it is missing, the Service
says it. Of two parts of which the first is a number, these are LOCAL and REMOTE. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ktnet.errors import NotFound, UsageError
from ktnet.wire.shadow import SSH_PORT

Json = dict[str, Any]

LOCALHOST = "127.0.0.1"

_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){0,14}")
"""IANA_SVC_NAME: RFC 6335 section 5.1, as Kubernetes checks it."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One part of `--expose`."""

    local: int
    remote: int | str | None = None
    """Port of the pod, by number or name; None: as the Service says."""
    host: str = LOCALHOST


@dataclass(frozen=True, slots=True)
class ExposedPort:
    """A port of the pod, and what it is to be."""

    remote: int
    local: int
    host: str = LOCALHOST
    name: str = ""
    """Of the container's port, by which a Service may mean it."""


def parse_exposures(text: str) -> tuple[Exposure, ...]:
    """`--expose`. Raises UsageError where it is none, or two parts want the same pod port."""
    exposures = tuple(_parse_one(part.strip()) for part in text.split(","))
    wanted = [each.remote for each in exposures if each.remote is not None]
    if twice := _find_twice(wanted):
        raise UsageError(f"port {twice} of the pod is exposed twice", hint="each of them once")
    return exposures


def _parse_one(part: str) -> Exposure:
    if part.lower().endswith("/udp"):
        raise UsageError(f"{part}: UDP is not carried yet", hint="TCP ports can be exposed")
    head, *rest = _split(part.removesuffix("/tcp"))
    if not rest:
        return Exposure(_parse_port(head, part))
    if len(rest) == 1 and _is_number(head):
        return Exposure(_parse_port(head, part), _parse_remote(rest[0], part))
    if len(rest) > 2 or not head:
        raise UsageError(
            f"{part!r} is no [HOST:]LOCAL[:REMOTE]",
            hint="such as 8080, 8080:80 or db.local:5432:http",
        )
    remote = _parse_remote(rest[1], part) if len(rest) == 2 else None
    return Exposure(_parse_port(rest[0], part), remote, head)


def _split(part: str) -> list[str]:
    """At the colons; an IPv6 address stands in brackets."""
    if part.startswith("[") and "]" in part:
        host, _, rest = part[1:].partition("]")
        return [host, *rest.removeprefix(":").split(":")]
    return part.split(":")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _parse_port(text: str, part: str) -> int:
    if not _is_number(text):
        raise UsageError(f"{part!r}: {text!r} is no port number", hint="1 to 65535")
    if not 0 < int(text[:6]) <= 0xFFFF or len(text) > 5:
        raise UsageError(f"{part!r}: there is no port {text}", hint="1 to 65535")
    return int(text)


def _parse_remote(text: str, part: str) -> int | str:
    if _is_number(text):
        port = _parse_port(text, part)
        if port == SSH_PORT:
            raise UsageError(
                f"{part!r}: port {SSH_PORT} is the shadow's own", hint="no other port is taken"
            )
        return port
    if not _PORT_NAME.fullmatch(text):
        raise UsageError(f"{part!r}: {text!r} is neither a port number nor a port's name")
    return text


# --- what the cluster says of it ---


def resolve_exposures(
    exposures: Iterable[Exposure], pod_spec: Json, services: Iterable[Json]
) -> tuple[ExposedPort, ...]:
    """Each exposure with the number of the pod's port.

    `pod_spec` is the workload's (empty where there is none), `services` are those in front of it.
    Raises NotFound where a port's name is unknown, UsageError where it isn't clear which is meant.
    """
    named = dict(list_named_ports(pod_spec))
    targets = list(dict.fromkeys(_list_targets(services, named)))
    resolved = []
    for each in exposures:
        remote = each.remote if each.remote is not None else _find_default(each, targets, pod_spec)
        if isinstance(remote, str):
            if remote not in named:
                known = ", ".join(named) or "none of its ports has a name"
                raise NotFound(f"the pod has no port called {remote!r}", hint=f"known: {known}")
            remote = named[remote]
        if remote == SSH_PORT:
            raise UsageError(f"port {SSH_PORT} of the pod can't be exposed: it is the shadow's own")
        name = next((name for name, number in named.items() if number == remote), "")
        resolved.append(ExposedPort(remote, each.local, each.host, name))
    if twice := _find_twice(each.remote for each in resolved):
        raise UsageError(
            f"port {twice} of the pod is exposed twice", hint="name each as LOCAL:REMOTE"
        )
    return tuple(resolved)


def list_named_ports(pod_spec: Json) -> Iterator[tuple[str, int]]:
    """Names and numbers of its containers' TCP ports."""
    for container in pod_spec.get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") and port.get("protocol", "TCP") == "TCP":
                yield port["name"], port["containerPort"]


def list_target_ports(services: Iterable[Json], pod_spec: Json) -> Iterator[int]:
    """The pod's ports that the Services send TCP to."""
    for _, target in _list_targets(services, dict(list_named_ports(pod_spec))):
        yield target


def _list_targets(services: Iterable[Json], named: dict[str, int]) -> Iterator[tuple[int, int]]:
    """(port of the Service, port of the pod) of each TCP port."""
    for service in services:
        for port in service.get("spec", {}).get("ports") or ():
            if port.get("protocol", "TCP") != "TCP":
                continue
            target = port.get("targetPort") or port["port"]
            number = named.get(target) if isinstance(target, str) else target
            if number is not None:
                yield port["port"], number


def _find_default(exposure: Exposure, targets: list[tuple[int, int]], pod_spec: Json) -> int:
    pods = list(dict.fromkeys(target for _, target in targets))
    if not pods:
        pods = [
            port["containerPort"]
            for container in pod_spec.get("containers") or ()
            for port in container.get("ports") or ()
            if port.get("protocol", "TCP") == "TCP"
        ]
    if len(pods) == 1:
        return pods[0]
    if exposure.local in pods:
        return exposure.local
    for port, target in targets:
        if port == exposure.local:
            return target
    if not pods:
        return exposure.local
    raise UsageError(
        f"which port of the pod shall be this machine's {exposure.local}?",
        hint=f"say LOCAL:REMOTE, with one of {', '.join(map(str, pods))}",
    )


def _find_twice(values: Iterable[object]) -> object:
    seen = set()
    for each in values:
        if each in seen:
            return each
        seen.add(each)
    return None
