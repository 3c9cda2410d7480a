"""What a terminator wants done: packets to the application, calls to the far side."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

Buffer = bytes | memoryview


class Send(NamedTuple):
    """Send a segment to the application."""

    flags: int
    seq: int
    ack: int
    window: int
    """As it goes into the header."""
    payload: Sequence[Buffer] = ()
    payload_bytes: int = 0
    options: bytes = b""


class Deliver(NamedTuple):
    """Write bytes of the application to the far side."""

    data: bytes


class FarSide(enum.Enum):
    """Calls to the far side that carry nothing."""

    END = enum.auto()
    """Write EOF: the application will send no more."""
    RESET = enum.auto()
    PAUSE = enum.auto()
    """Deliver nothing for the time being."""
    RESUME = enum.auto()


class Finished(NamedTuple):
    """The flow is over in every respect: forget it."""

    orderly: bool


Command = Send | Deliver | FarSide | Finished
