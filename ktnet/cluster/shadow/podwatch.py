"""Follows the session's pods, to know of a shadow's end before its connection ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.cluster.server.informer import run_informer
from ktnet.cluster.shadow.manifests import build_selector
from ktnet.cluster.shadow.verdict import find_end, uid_of
from ktnet.errors import Forbidden

log = logging.getLogger(__name__)

Json = dict[str, Any]


async def run_pod_watch(
    api: Api, namespace: str, session: str, on_end: Callable[[str, str], None]
) -> None:
    """Call `on_end` with (uid, why) for each pod of the session that ends, until cancelled.

    It may be called more than once for a pod.
    """
    mirror = _PodEnds(on_end)
    try:
        await run_informer(
            api, "pods", "", mirror, namespace=namespace, labels=build_selector(session)
        )
    except Forbidden as error:
        # A right that was taken away: the end of the connection will tell.
        log.warning("the shadow's pod is not watched any more: %s", error)


class _PodEnds:
    def __init__(self, on_end: Callable[[str, str], None]) -> None:
        self._on_end = on_end
        self._known: set[str] = set()

    def replace(self, objects: list[Json]) -> None:
        for uid in self._known - {uid_of(pod) for pod in objects}:
            self._on_end(uid, "the shadow's pod is gone")
        self._known = set()
        for pod in objects:
            self.change("ADDED", pod)

    def change(self, kind: str, obj: Json) -> None:
        uid = uid_of(obj)
        self._known.add(uid)
        if kind == "DELETED":
            self._known.discard(uid)
            self._on_end(uid, "the shadow's pod was deleted")
        elif reason := find_end(obj):
            self._on_end(uid, reason)
