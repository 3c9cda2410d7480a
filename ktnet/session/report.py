"""Where a session says how far it is."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """For people who wait."""

    def begin(self) -> None:
        """The next step begins only now."""

    def step(self, name: str, detail: str) -> None:
        """A step is done."""

    def waiting(self, detail: str) -> None:
        """What the step under way is waiting for."""

    def note(self, text: str) -> None:
        """Something that the user should know, though it stops nothing."""

    def show(self, line: str) -> None:
        """Something to copy, without any mark in front."""
