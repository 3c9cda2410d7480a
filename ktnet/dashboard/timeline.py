"""What happened, of all sessions, also of those that have ended meanwhile. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

MOST = 500

Json = dict[str, Any]


class Timeline:
    """A ring of events; each is told once, however often a session tells it."""

    def __init__(self) -> None:
        self._events: deque[Json] = deque(maxlen=MOST)
        self._seen: dict[str, int] = {}
        self._titles: dict[str, str] = {}
        self._cluster_error = ""
        self.count = 0
        """How many there were, those forgotten included."""

    def seen(self, session: str) -> int:
        """Number of the last event of that session."""
        return self._seen.get(session, 0)

    def look(self, at_s: float, told: Mapping[str, list[Json]], titles: Mapping[str, str]) -> None:
        """What each session there is has told, by its key; one that is no more has ended."""
        for key in self._titles.keys() - titles.keys():
            self._add(at_s, self._titles[key], "end", "the session has ended")
            self._seen.pop(key, None)
        self._titles = dict(titles)
        for key, events in told.items():
            for event in events:
                if event["number"] > self.seen(key):
                    self._seen[key] = event["number"]
                    self._add(event["at_s"], titles[key], event["kind"], event["text"])

    def cluster_answered(self, at_s: float, error: str) -> None:
        """The cluster was asked; `error` is what stood in the way, or empty."""
        if error != self._cluster_error:
            self._cluster_error = error
            if error:
                self._add(at_s, "cluster", "note", error)
            else:
                self._add(at_s, "cluster", "step", "answers again")

    def _add(self, at_s: float, title: str, kind: str, text: str) -> None:
        self.count += 1
        self._events.append(
            {"number": self.count, "at_s": at_s, "of": title, "kind": kind, "text": text}
        )

    def list_events(self) -> list[Json]:
        """The newest first, by when they happened: sessions tell theirs one after the other."""
        return sorted(self._events, key=lambda each: (each["at_s"], each["number"]), reverse=True)
