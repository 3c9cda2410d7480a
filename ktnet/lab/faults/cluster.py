"""What a cluster does to pods by itself or by its administrators: deletes, evicts, drains."""

from __future__ import annotations

from typing import Any

from ktnet.lab.api.deletion import DeleteOptions
from ktnet.lab.api.errors import ApiError, Obj
from ktnet.lab.api.eviction import evict
from ktnet.lab.api.metadata import utc_now
from ktnet.lab.api.selectors import parse_label_selector
from ktnet.lab.api.store import Store
from ktnet.lab.faults.control import Arguments, Fault

SHADOWS = "app.kubernetes.io/managed-by=ktnet"
"""The label by which pods are shadows, where none is named."""


class ClusterFaults:
    """Faults that are ordinary life for a cluster's pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_faults(self) -> dict[str, Fault]:
        return {
            "delete-shadow": self.delete,
            "evict": self.evict,
            "drain": self.drain,
            "uncordon": self.uncordon,
        }

    async def delete(self, arguments: Arguments) -> dict[str, Any]:
        """{"pod": "NAMESPACE/NAME"}, else all shadows: deleted, with their grace."""
        pods = self._select(arguments)
        for pod in pods:
            self._store.remove("pods", *_place(pod), DeleteOptions())
        return {"deleted": [_name(pod) for pod in pods]}

    async def evict(self, arguments: Arguments) -> dict[str, Any]:
        """{"pod": "NAMESPACE/NAME"}, else all shadows: evicted, where their budgets allow."""
        return self._evict(self._select(arguments))

    async def drain(self, arguments: Arguments) -> dict[str, Any]:
        """{"node": NAME}, else all nodes: cordoned, and every pod evicted that runs there.

        Who is refused stays; kubectl drain would go on asking.
        """
        nodes = self._cordon(arguments, unschedulable=True)
        pods = [pod for pod in self._store.list("pods") if pod["spec"].get("nodeName") in nodes]
        return {"nodes": nodes, **self._evict(pods)}

    async def uncordon(self, arguments: Arguments) -> dict[str, Any]:
        """{"node": NAME}, else all nodes: they take pods again."""
        return {"nodes": self._cordon(arguments, unschedulable=None)}

    async def clear(self) -> None:
        """All nodes take pods; what was evicted isn't there again."""
        self._cordon({}, unschedulable=None)

    def _select(self, arguments: Arguments) -> list[Obj]:
        """Raises ValueError where there is no such pod."""
        wanted = str(arguments.get("pod") or "")
        is_shadow = parse_label_selector(SHADOWS)
        found = [
            pod
            for pod in self._store.list("pods")
            if (_name(pod) == wanted if wanted else is_shadow(pod))
        ]
        if not found:
            raise ValueError(f"there is no pod {wanted}" if wanted else "there is no shadow")
        return found

    def _evict(self, pods: list[Obj]) -> dict[str, Any]:
        evicted, refused = [], {}
        for pod in pods:
            namespace, name = _place(pod)
            try:
                evict(self._store, namespace, name, DeleteOptions(), utc_now())
                evicted.append(_name(pod))
            except ApiError as error:
                refused[_name(pod)] = error.message
        return {"evicted": evicted, "refused": refused}

    def _cordon(self, arguments: Arguments, *, unschedulable: bool | None) -> list[str]:
        wanted = arguments.get("node")
        known = [str(node["metadata"]["name"]) for node in self._store.list("nodes")]
        if wanted is not None and wanted not in known:
            raise ValueError(f"there is no node {wanted}")
        nodes = [wanted] if wanted is not None else known
        for name in nodes:
            self._store.patch("nodes", None, name, {"spec": {"unschedulable": unschedulable}})
        return nodes


def _place(pod: Obj) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _name(pod: Obj) -> str:
    return "/".join(_place(pod))
