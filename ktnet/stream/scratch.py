"""What has just been read from a socket, with room around it.

A packet's header goes in front of it and the padding behind it, where it lies: then the cipher,
which writes its result elsewhere, is all that moves the bytes from one socket to the other.
"""

from __future__ import annotations

from ktnet.wire.sshrecord import DATA_OFFSET, OVERHEAD_BYTES

PACKET_START = 64 - DATA_OFFSET
"""Where a packet begins in it whose data is what was read. (So that this is aligned.)"""

_FRONT_BYTES = PACKET_START + DATA_OFFSET


class Scratch(bytearray):
    """Known by the views of it (`memoryview.obj`)."""

    def __init__(self, most_bytes: int) -> None:
        """For so many bytes at once."""
        super().__init__(_FRONT_BYTES + most_bytes + OVERHEAD_BYTES)
        self.whole = memoryview(self)
        self.room = self.whole[_FRONT_BYTES : _FRONT_BYTES + most_bytes]
        """To read into."""
        self.held_bytes = 0
        """Bytes that were read. A view of as many is all of them: there are no others behind."""

    def take(self, count: int) -> memoryview:
        """So many have been read; valid until the next ones are."""
        self.held_bytes = count
        return self.room[:count]


def find_scratch(data: memoryview) -> Scratch | None:
    """The scratch that holds just this, and nothing behind it."""
    found = data.obj
    return found if isinstance(found, Scratch) and len(data) == found.held_bytes else None
