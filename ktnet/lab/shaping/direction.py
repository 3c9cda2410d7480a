"""One direction of a link: a queue that is emptied at a rate, a delay behind it, and losses.

Nobody's clock is read here: the times are handed in, and so are tests'.
"""

from __future__ import annotations

import math
import random
from collections import deque

from ktnet.lab.shaping.conditions import Conditions
from ktnet.lab.shaping.frames import Shape, cut, read_shape

MOST_HELD_BYTES = 64 << 20
"""Under way at most, queued or delayed, whatever the conditions say: it is memory."""


class Direction:
    """What goes in comes out later, in the same order, or not at all.

    A packet waits for those before it, takes its bytes' time at the rate, may then be lost, and
    arrives a delay later. So what is lost has taken its time too, as on a wire.
    """

    def __init__(self, conditions: Conditions, name: str) -> None:
        """`name` makes the losses of two directions with one seed different."""
        self._name = name
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._free_s = 0.0
        self._last_due_s = 0.0
        self.passed = self.lost = self.refused = 0
        """Packets: that went through, that were lost, that found the queue full."""
        self.change(conditions)

    def change(self, conditions: Conditions) -> None:
        """From now on; what is under way keeps its time."""
        self._conditions = conditions
        self._random = random.Random(f"{conditions.seed}/{self._name}")  # noqa: S311 -- to repeat
        self._until_loss = self._draw_gap()

    @property
    def next_due_s(self) -> float | None:
        """When `take_due` has something to give; None: nothing is under way."""
        return self._held[0][0] if self._held else None

    def offer(self, frame: bytes, now_s: float) -> None:
        """A frame has come. Raises RemoteProtocolError for what is none."""
        shape = read_shape(frame)
        rate = self._conditions.bytes_per_s
        begin_s = max(now_s, self._free_s) if rate else now_s
        fitting = _count_fitting(shape, MOST_HELD_BYTES - self._held_bytes)
        if rate:
            queued_bytes = (begin_s - now_s) * rate
            # What is sent at once doesn't wait: where nothing is queued, one packet has room.
            room = _count_fitting(shape, self._conditions.queue_bytes - queued_bytes)
            fitting = min(fitting, max(room, int(not queued_bytes)))
        self.refused += shape.packets - fitting
        if rate:
            self._free_s = begin_s + shape.wire_bytes(0, fitting) / rate
        for start, end in self._list_kept(fitting, may_be_lost=shape.may_be_lost):
            sent_s = begin_s + (shape.wire_bytes(0, end) / rate if rate else 0.0)
            self._hold(cut(frame, shape, start, end), sent_s + self._conditions.one_way_s)

    def take_due(self, now_s: float) -> list[bytes]:
        """The frames that arrive now."""
        due = []
        while self._held and self._held[0][0] <= now_s:
            _, frame = self._held.popleft()
            self._held_bytes -= len(frame)
            due.append(frame)
        return due

    def _hold(self, frame: bytes, due_s: float) -> None:
        # Not before what came earlier, should the delay have become less meanwhile.
        self._last_due_s = max(due_s, self._last_due_s)
        self._held.append((self._last_due_s, frame))
        self._held_bytes += len(frame)

    def _list_kept(self, packets: int, *, may_be_lost: bool) -> list[tuple[int, int]]:
        """Which of so many packets aren't lost, as runs of neighbours: (first, behind the last)."""
        if not may_be_lost:
            self.passed += packets
            return [(0, packets)] if packets else []
        runs, start = [], 0
        while self._until_loss < packets - start:
            hit = start + int(self._until_loss)
            if hit > start:
                runs.append((start, hit))
            self.lost += 1
            start = hit + 1
            self._until_loss = self._draw_gap()
        if start < packets:
            runs.append((start, packets))
            self._until_loss -= packets - start
        self.passed += sum(end - first for first, end in runs)
        return runs

    def _draw_gap(self) -> float:
        """How many packets pass before the next one is lost: geometrically distributed."""
        share = self._conditions.share
        if share <= 0:
            return math.inf
        if share >= 1:
            return 0
        return math.floor(math.log(1 - self._random.random()) / math.log(1 - share))


def _count_fitting(shape: Shape, room_bytes: float) -> int:
    """How many of a frame's packets, from its first, there is room for."""
    fitting = shape.packets
    while fitting and shape.wire_bytes(0, fitting) > room_bytes:
        fitting -= 1
    return fitting
