"""Who wants which requests, at this moment."""

from __future__ import annotations

from ktnet.shadow.destinations import Destination
from ktnet.shadow.router.marks import find_marked


class Table:
    """The routes of one port (a `ktnet.shadow.router.routes.Routes`)."""

    def __init__(self, origin: Destination) -> None:
        self.origin = origin
        self._marks: dict[bytes, dict[bytes, Destination]] = {}

    def choose(self, fields: list[tuple[bytes, bytes]]) -> Destination:
        """A laptop whose mark the request bears, or the origin."""
        return find_marked(fields, self._marks) or self.origin

    def add(self, key: str, value: str, destination: Destination) -> None:
        """From now on, requests with `key: value` go there; instead of where they went before."""
        self._marks.setdefault(key.lower().encode(), {})[value.encode()] = destination

    def remove(self, key: str, value: str, destination: Destination) -> None:
        """No more, unless somebody else has taken the mark over meanwhile."""
        name = key.lower().encode()
        values = self._marks.get(name, {})
        if values.get(value.encode()) is destination:
            del values[value.encode()]
        if not values:
            self._marks.pop(name, None)
