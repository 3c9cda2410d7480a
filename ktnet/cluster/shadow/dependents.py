"""What a session owns beside its pod: made with the Job as its owner, moved to the Job's successor.

An object whose owner is gone is collected within a second
(https://kubernetes.io/docs/concepts/architecture/garbage-collection/), so what is moved too late
is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.errors import NotFound

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dependent:
    """One object; `build` gives it as it shall be made now, without an owner."""

    plural: str
    name: str
    build: Callable[[], Json]


def build_owner(job: str, uid: str) -> Json:
    """The ownerReference to a Job."""
    return {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid}


class Dependents:
    """The objects of one session."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._owner: Json = {}
        self._dependents: list[Dependent] = []

    @property
    def names(self) -> list[tuple[str, str]]:
        """(plural, name) of each that was made."""
        return [(each.plural, each.name) for each in self._dependents]

    async def add(self, dependent: Dependent) -> None:
        """Make the object, owned by the session's Job, and keep it so."""
        await self._create(dependent)
        self._dependents.append(dependent)

    def leave(self, plurals: Iterable[str]) -> None:
        """Those of these kinds aren't moved or made again: they go with the Job that they have."""
        left = frozenset(plurals)
        self._dependents = [each for each in self._dependents if each.plural not in left]

    async def remake(self, plural: str, name: str) -> None:
        """Make one of them anew, which somebody has deleted."""
        for dependent in self._dependents:
            if (dependent.plural, dependent.name) == (plural, name):
                await self._create(dependent)

    async def move(self, owner: Json) -> None:
        """Make this Job the owner of all of them; may be repeated where it failed half way."""
        self._owner = owner
        for dependent in self._dependents:
            # A list is replaced as a whole by a merge patch (RFC 7386), which is what we want.
            patch = {"metadata": {"ownerReferences": [owner]}}
            try:
                await self._api.patch(
                    dependent.plural,
                    dependent.name,
                    patch,
                    kind="merge",
                    namespace=self._namespace,
                )
            except NotFound:
                await self._create(dependent)

    async def _create(self, dependent: Dependent) -> None:
        obj = dependent.build()
        obj["metadata"]["ownerReferences"] = [self._owner]
        await self._api.create(dependent.plural, obj, namespace=self._namespace)
