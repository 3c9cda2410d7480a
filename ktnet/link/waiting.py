"""Who waits for the tunnel to come back, and for how long: pure."""

from __future__ import annotations

from typing import Generic, TypeVar

PATIENCE_S = 10.0
"""Long enough for a shadow that has to be made anew, short enough for an application that can do
something else; then it is told that the host is unreachable."""

Guest = TypeVar("Guest")


class WaitingRoom(Generic[Guest]):
    """Guests in the order in which they came. Times are of one clock that only goes forward, in
    seconds; everybody has the same patience, so whoever came first leaves first."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._guests: dict[Guest, float] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest, now_s: float) -> None:
        """Begin to wait."""
        self._guests[guest] = now_s + self._patience_s

    def leave(self, guest: Guest) -> None:
        """Wait no more; nothing happens to whoever isn't here."""
        self._guests.pop(guest, None)

    @property
    def next_deadline_s(self) -> float | None:
        """When the first one's patience ends; None: nobody waits."""
        return next(iter(self._guests.values()), None)

    def take_impatient(self, now_s: float) -> list[Guest]:
        """Those whose patience is at its end; they have left."""
        impatient = [guest for guest, ends_s in self._guests.items() if ends_s <= now_s]
        for guest in impatient:
            del self._guests[guest]
        return impatient

    def take_all(self) -> list[Guest]:
        """Everybody, the first first; they have left."""
        guests, self._guests = list(self._guests), {}
        return guests
