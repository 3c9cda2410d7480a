"""The process between the two halves of a link.

`python -m ktnet.lab.shaping.process NEAR FAR` takes the descriptors of two TAP devices. A line on
stdin, Conditions as JSON, is in force when it is answered on stdout: by what has happened to
packets so far, {"up": {"passed", "lost", "refused"}, "down": {...}}. Ends with stdin.

It has the two devices and nothing else: a network namespace of its own, and no capabilities.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time

from ktnet.errors import RemoteProtocolError
from ktnet.lab.node.syscalls import (
    CLONE_NEWNET,
    drop_capabilities,
    set_capabilities,
    unshare,
)
from ktnet.lab.shaping.conditions import Conditions, parse_conditions
from ktnet.lab.shaping.direction import Direction
from ktnet.wire.vnet import VNET_HEADER_BYTES

FRAME_BYTES = VNET_HEADER_BYTES + 14 + 0xFFFF
FRAMES_A_TURN = 32
"""Read from one device before the other and what is due have their turn."""

PRIORITY = 1
"""Before all that isn't real-time: a link that is late because the machine has other work looks
like a queue to CUBIC, which then ends its slow start too soon (HyStart, RFC 9406). It takes of the
machine what its packets need, within the kernel's limit for such processes (sched(7))."""


def main() -> None:
    """Until stdin ends, or one of the devices is gone."""
    near, far = int(sys.argv[1]), int(sys.argv[2])
    with contextlib.suppress(OSError):  # refused in some containers: then it is as late as others
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    unshare(CLONE_NEWNET)
    drop_capabilities(0)
    set_capabilities(0)
    with contextlib.suppress(OSError):
        Wire(near, far).run()


class Wire:
    """Both directions."""

    def __init__(self, near: int, far: int) -> None:
        """`near` is the laptop's side: from there it goes up."""
        self._up = Direction(Conditions(), "up")
        self._down = Direction(Conditions(), "down")
        self._ways = ((near, far, self._up), (far, near, self._down))
        self._said = b""

    def run(self) -> None:
        """Raises OSError when a device is gone."""
        devices = [source for source, _, _ in self._ways]
        while True:
            # select(2) waits to the microsecond, epoll_wait(2) to the millisecond.
            ready, _, _ = select.select([0, *devices], (), (), self._find_pause_s())
            if 0 in ready and not self._hear():
                return
            for source, target, direction in self._ways:
                if source in ready:
                    _read(source, direction)
                for frame in direction.take_due(time.monotonic()):
                    _write(target, frame)

    def _find_pause_s(self) -> float | None:
        due_s = [d for _, _, way in self._ways if (d := way.next_due_s) is not None]
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _hear(self) -> bool:
        """New conditions; False: there will be no more."""
        piece = os.read(0, 65536)
        *lines, self._said = (self._said + piece).split(b"\n")
        for line in lines:
            conditions = parse_conditions(json.loads(line))
            for _, _, direction in self._ways:
                direction.change(conditions)
            answer = {"up": _count(self._up), "down": _count(self._down)}
            print(json.dumps(answer), flush=True)  # noqa: T201 -- to whoever started it
        return bool(piece)


def _read(source: int, direction: Direction) -> None:
    for _ in range(FRAMES_A_TURN):
        try:
            frame = os.read(source, FRAME_BYTES)
        except BlockingIOError:
            return
        # What no device should give is as good as lost.
        with contextlib.suppress(RemoteProtocolError):
            direction.offer(frame, time.monotonic())


def _write(target: int, frame: bytes) -> None:
    # Refused where the bridge behind has gone down, or memory is short: lost, as on any network.
    with contextlib.suppress(OSError):
        os.write(target, frame)


def _count(direction: Direction) -> dict[str, int]:
    return {
        "passed": direction.passed,
        "lost": direction.lost,
        "refused": direction.refused,
    }


if __name__ == "__main__":
    main()
