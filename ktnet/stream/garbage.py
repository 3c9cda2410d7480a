"""Python's garbage collector, in a process that carries connections."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 5000
"""So many more than were given back, and the collector looks at the new ones. A connection is some
hundred objects as long as it is open: with Python's 700 they were looked at again and again, which
was a twentieth of what opening and closing connections costs."""


def spare_what_stays() -> None:
    """To be called when all is loaded: that stays, and nothing waits for a look through it, which
    takes 0.1 s and more."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
