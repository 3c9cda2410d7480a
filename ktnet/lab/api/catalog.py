"""What is served right now: the fixed resources and those that CustomResourceDefinitions add.

kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/. Custom resources are
stored as they come: their schemas are neither checked nor do they prune or default anything.
"""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.resources import ALL_VERBS, PART, RESOURCES, Resource, Subresource
from ktnet.lab.api.strategies.custom import CustomStrategy
from ktnet.lab.api.strategies.strategy import Strategy
from ktnet.lab.api.strategies.table import STRATEGIES

DEFINITIONS = "customresourcedefinitions"


class Catalog:
    """Resources by group, version and name; each has one key for all of its versions."""

    def __init__(self) -> None:
        self._resources: dict[str, list[Resource]] = {each.key: [each] for each in RESOURCES}
        self._strategies: dict[str, Strategy] = dict(STRATEGIES)

    def find(self, key: str) -> tuple[Resource, Strategy] | None:
        """A stored resource, as the version in which it is stored."""
        if key not in self._strategies:
            return None
        return self._resources[key][0], self._strategies[key]

    def strategy(self, key: str) -> Strategy:
        return self._strategies[key]

    def find_in_group(self, group: str, version: str, plural: str) -> Resource | None:
        return next((r for r in self.list_group(group, version) if r.plural == plural), None)

    def list_group(self, group: str, version: str) -> list[Resource]:
        """The resources of a group version; empty where it does not exist."""
        return [r for r in self._all() if (r.group, r.version) == (group, version)]

    def groups(self) -> dict[str, list[str]]:
        """All named groups and their versions, the preferred one first."""
        groups: dict[str, list[str]] = {}
        for resource in self._all():
            versions = groups.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        groups.pop("", None)
        return groups

    def list_stored(self) -> list[Resource]:
        return [self._resources[key][0] for key in self._strategies]

    def find_stored(self, plural: str, group: str) -> str:
        """The key of a stored kind; empty where there is none."""
        kinds = (r.key for r in self.list_stored() if (r.plural, r.group) == (plural, group))
        return next(kinds, "")

    def define(self, definition: Obj) -> str:
        """Serves what a CustomResourceDefinition defines; gives its key."""
        resources = build_resources(definition["spec"])
        key = resources[0].key
        self._resources[key] = resources
        has_status = resources[0].subresource("status") is not None
        self._strategies[key] = CustomStrategy(has_status=has_status)
        return key

    def forget(self, definition: Obj) -> str:
        """Serves it no longer; gives its key."""
        key = str(definition["metadata"]["name"])
        del self._resources[key], self._strategies[key]
        return key

    def _all(self) -> list[Resource]:
        return [each for versions in self._resources.values() for each in versions]


def build_resources(spec: Obj) -> list[Resource]:
    """The served versions, that in which objects are stored first."""
    names = spec["names"]
    versions = sorted(spec["versions"], key=lambda each: not each.get("storage"))
    return [
        Resource(
            names["plural"],
            names["kind"],
            group=spec["group"],
            version=version["name"],
            namespaced=spec["scope"] == "Namespaced",
            verbs=ALL_VERBS,
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=tuple(
                Subresource(name, PART) for name in ("status",) if name in _parts(version)
            ),
            singular=names["singular"],
            custom=True,
        )
        for version in versions
        if version.get("served") or version.get("storage")
    ]


def _parts(version: Obj) -> Obj:
    return version.get("subresources") or {}
