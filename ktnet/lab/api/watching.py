"""A watch over HTTP: one JSON object a line, until its time is over.

kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

from ktnet.lab.api.errors import ApiError, Obj
from ktnet.lab.api.history import Change
from ktnet.lab.api.listing import strip_to_metadata
from ktnet.lab.api.media import Form
from ktnet.lab.api.query import ListOptions, parse_version
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.store import Store

SHORTEST_S = 1800
"""A watch that sets no end gets one between this and twice this (--min-request-timeout)."""

BOOKMARK_EVERY_S = 60.0
LAST_BOOKMARK_S = 2.0
"""The last bookmark comes this long before the end."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Watch:
    """What one client watches."""

    def __init__(
        self, store: Store, resource: Resource, namespace: str | None, options: ListOptions
    ) -> None:
        self._store = store
        self._resource = resource
        self._namespace = namespace
        self._options = options
        self._bare = options.version in {"", "0"}
        self._version = store.version if self._bare else parse_version(options.version)

    async def events(self) -> AsyncIterator[Obj]:
        """All events; ends when the time is over, or after an ERROR."""
        loop, options = asyncio.get_running_loop(), self._options
        most_s = options.timeout_s or SHORTEST_S * (1 + random.random())  # noqa: S311
        end_s = loop.time() + most_s
        for initial in self._initial():
            yield initial
        changed = asyncio.Event()
        bookmarks = _plan_bookmarks(loop.time(), end_s) if options.bookmarks else []
        with self._store.woken(self._resource.key, changed.set):
            while True:
                changed.clear()
                try:
                    changes = self._store.history.since(self._resource.key, self._version)
                except ApiError as error:
                    yield {"type": "ERROR", "object": error.body()}
                    return
                for change in changes:
                    self._version = change.version
                    event = self._convert(change)
                    if event is not None:
                        yield event
                next_s = min([end_s, *bookmarks[:1]])
                try:
                    async with asyncio.timeout_at(next_s):
                        await changed.wait()
                except TimeoutError:
                    if next_s == end_s:
                        return
                    del bookmarks[0]
                    yield self._bookmark()

    def _initial(self) -> list[Obj]:
        """What is there already, where the client does not say from where to go on."""
        options = self._options
        if not self._bare and not options.initial_events:
            return []
        events = [
            {"type": "ADDED", "object": obj}
            for obj in self._store.list(self._resource.key, self._namespace)
            if options.selects(obj)
        ]
        self._version = self._store.version
        if options.bookmarks and (options.initial_events or options.version == ""):
            events.append(self._bookmark(initial=True))
        return events

    def _convert(self, change: Change) -> Obj | None:
        """A change as those see it who only see what is selected."""
        meta = change.obj["metadata"]
        if self._namespace not in {None, meta.get("namespace")}:
            return None
        selects = self._options.selects
        was = change.before is not None and selects(change.before)
        now = change.kind != "DELETED" and selects(change.obj)
        if now:
            return {"type": "MODIFIED" if was else "ADDED", "object": change.obj}
        if not was or change.before is None:
            return None
        # Gone from the selection: the last state that was in it, with the change's version.
        version = {"resourceVersion": str(change.version)}
        return {
            "type": "DELETED",
            "object": {**change.before, "metadata": {**change.before["metadata"], **version}},
        }

    def _bookmark(self, *, initial: bool = False) -> Obj:
        meta: Obj = {"resourceVersion": str(max(self._version, self._store.version))}
        if initial:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        obj = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.api_version,
            "metadata": meta,
        }
        if self._resource.kind == "Pod":
            # Go's encoder writes what a Pod without content has.
            obj |= {"spec": {"containers": None}, "status": {}}
        return {"type": "BOOKMARK", "object": obj}


def _plan_bookmarks(now_s: float, end_s: float) -> list[float]:
    """When bookmarks are due: every minute and shortly before the end, but not in short watches."""
    last_s = end_s - LAST_BOOKMARK_S
    if last_s < now_s + BOOKMARK_EVERY_S:
        return []
    count = int((last_s - now_s) // BOOKMARK_EVERY_S)
    return [*(now_s + BOOKMARK_EVERY_S * (i + 1) for i in range(count)), last_s]


def encode_event(event: Obj, form: Form, resource: Resource) -> bytes:
    """One line."""
    if event["type"] != "ERROR" and not form.is_table:
        obj = event["object"]
        if form.is_partial:
            obj = strip_to_metadata(obj)
        elif resource.custom:
            obj = {**obj, "apiVersion": resource.api_version}
        event = {**event, "object": obj}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
