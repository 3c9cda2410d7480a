"""How long a shadow lives: until nobody has been attached for a while, or it is told to go.

Exit code 0 means "the session is over" to the Job that owns the pod, and then all of the session
goes. So only the idle time ends with 0; SIGTERM (a drained node, an eviction) ends with 143, as
a process killed by that signal would, and the Job starts the shadow again elsewhere.
"""

from __future__ import annotations

import asyncio

EXIT_SESSION_OVER = 0
EXIT_TERMINATED = 128 + 15


class Attendance:
    """Counts the clients that are attached (authenticated)."""

    def __init__(self) -> None:
        self._attached = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._somebody = asyncio.Event()
        self.is_closed = False
        """Whether nobody may attach: what was taken for them is being put back."""

    @property
    def attached(self) -> int:
        """How many are there now."""
        return self._attached

    def arrive(self) -> None:
        """A client has authenticated."""
        self._attached += 1
        self._nobody.clear()
        self._somebody.set()

    def leave(self) -> None:
        """A client that had arrived is gone."""
        self._attached -= 1
        if self._attached == 0:
            self._somebody.clear()
            self._nobody.set()

    def close(self) -> None:
        """Nobody may attach from now on."""
        self.is_closed = True

    def reopen(self) -> None:
        """They may again."""
        self.is_closed = False

    async def wait_idle(self, idle_s: float) -> None:
        """Return when nobody has been there for `idle_s` seconds on end, the start included."""
        while True:
            await self._nobody.wait()
            try:
                async with asyncio.timeout(idle_s):
                    await self._somebody.wait()
            except TimeoutError:
                return
