"""Adds a mark to Istio's objects, and takes it out again, whoever else changes them meanwhile.

list ─► plan (`plan`) ─► a patch each, if it is still as it was read ─► added
 ▲                                          │ 409, 422: somebody was first
 └──────────────────────────────────────────┘
"""

from __future__ import annotations

from typing import Any

from ktnet.cluster.istio.plan import Version, find_open_routes, plan_addition
from ktnet.cluster.istio.removal import is_default_in_use, plan_removal
from ktnet.cluster.istio.step import KIND, Plural, Step, diff_step
from ktnet.cluster.server.api import Api
from ktnet.cluster.server.contention import is_first, wait_for_others
from ktnet.errors import Conflict

Json = dict[str, Any]

GROUP = "networking.istio.io"
VERSIONS = ("v1", "v1beta1")
"""Of which the first is taken that the cluster has; v1 is there since Istio 1.22."""

MOST_ATTEMPTS = 20
"""Each of them lost to another writer of one of the objects."""


class Rules:
    """Istio's objects of a namespace."""

    def __init__(self, api: Api, namespace: str, version: str) -> None:
        self._api = api
        self._namespace = namespace
        self._version = version

    async def plan(self, version: Version) -> list[Step]:
        """What it takes to lead to the version. Raises Conflict where that can't be done."""
        return plan_addition(
            await self.fetch("destinationrules"), await self.fetch("virtualservices"), version
        )

    async def add(self, version: Version) -> list[str]:
        """Lead marked requests there; the routes by which others' come too, in words."""
        for attempt in range(MOST_ATTEMPTS):
            steps = await self.plan(version)
            if await self._make_all(steps):
                break
            await wait_for_others(attempt)
        else:
            raise _always_changed()
        rules, routes = await self.fetch("destinationrules"), await self.fetch("virtualservices")
        return list(find_open_routes(rules, routes, version))

    async def remove(self, session: str, name: str) -> bool:
        """Take out what a session has there, called `name`; whether there was any.

        Routes first, so that none leads to a subset that isn't there.
        """
        found = False
        for attempt in range(MOST_ATTEMPTS):
            routes = await self.fetch("virtualservices")
            steps = plan_removal("virtualservices", routes, session, name)
            found = found or bool(steps)
            if not await self._make_all(steps):
                await wait_for_others(attempt)
                continue
            if steps:
                routes = await self.fetch("virtualservices")
            rules = await self.fetch("destinationrules")
            in_use = is_default_in_use(routes)
            steps = plan_removal("destinationrules", rules, session, name, in_use=in_use)
            found = found or bool(steps)
            if await self._make_all(steps):
                return found
            await wait_for_others(attempt)
        raise _always_changed()

    async def fetch(self, plural: Plural) -> list[Json]:
        """All of the namespace, each with a spec."""
        listing = await self._api.list_all(self._name(plural), namespace=self._namespace)
        return [
            {
                "kind": KIND[plural],
                **obj,
                "spec": spec if isinstance(spec := obj.get("spec"), dict) else {},
            }
            for obj in listing["items"]
        ]

    def _name(self, plural: Plural) -> str:
        return f"{plural}.{self._version}.{GROUP}"

    async def _make_all(self, steps: list[Step]) -> bool:
        """False where an object is no longer as it was read; then what comes after isn't made."""
        for step in steps:
            if not await is_first(self._make(step)):
                return False
        return True

    async def _make(self, step: Step) -> None:
        plural, namespace = self._name(step.plural), self._namespace
        if step.before is None:
            made = {"apiVersion": f"{GROUP}/{self._version}", **(step.after or {})}
            await self._api.create(plural, made, namespace=namespace)
            return
        metadata = step.before["metadata"]
        if step.after is None:
            await self._api.delete(
                plural,
                metadata["name"],
                namespace=namespace,
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
            )
            return
        patch = diff_step(step)
        if patch:
            name = metadata["name"]
            await self._api.patch(plural, name, patch, kind="json", namespace=namespace)


async def find_rules(api: Api, namespace: str) -> Rules | None:
    """Istio's objects of the namespace; None where the cluster has no such kinds."""
    versions = await api.list_group_versions(GROUP)
    version = next((each for each in VERSIONS if each in versions), None)
    return Rules(api, namespace, version) if version is not None else None


def _always_changed() -> Conflict:
    return Conflict(
        "Istio's objects are being changed by somebody else all the time",
        hint="which controller is that? try again when it has settled",
    )
