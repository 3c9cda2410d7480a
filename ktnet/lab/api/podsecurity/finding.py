"""What a check finds in a pod, and how it is said. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ktnet.lab.api.errors import Obj

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True)
class Finding:
    """What is forbidden, and where."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})"


Check = Callable[[Obj], Finding | None]
"""Of a PodSpec."""


def list_containers(spec: Obj) -> Iterator[Obj]:
    for which in CONTAINERS:
        yield from spec.get(which) or ()


def context_of(owner: Obj) -> Obj:
    """The securityContext of a pod or a container."""
    return owner.get("securityContext") or {}


def capabilities_of(container: Obj) -> Obj:
    return context_of(container).get("capabilities") or {}


def quote_all(texts: Iterable[object]) -> str:
    return ", ".join(json.dumps(str(text)) for text in texts)


def say_many(word: str, names: list[str]) -> str:
    """`container "a"`, `containers "a", "b"`."""
    return f"{word if len(names) == 1 else word + 's'} {quote_all(names)}"


def name_containers(spec: Obj, holds: Callable[[Obj], bool]) -> list[str]:
    return [each["name"] for each in list_containers(spec) if holds(each)]


def name_setters(spec: Obj, holds: Callable[[Obj], bool]) -> str:
    """Whose securityContext it is: `pod and container "a"`; empty where it is nobody's."""
    setters = ["pod"] if holds(spec) else []
    names = name_containers(spec, holds)
    if names:
        setters.append(say_many("container", names))
    return " and ".join(setters)
