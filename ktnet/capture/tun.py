"""The TUN device: frames in and out of its descriptor."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from ktnet.capture.commands import Buffer
from ktnet.errors import HostNetworkError
from ktnet.wire.vnet import VNET_HEADER_BYTES

FRAME_BYTES = VNET_HEADER_BYTES + 0xFFFF
"""The largest frame: the kernel never makes a TCP super-packet of IPv4 larger than 64 KiB unless
the device allows it (gso_ipv4_max_size), and the default doesn't."""


class TunDevice:
    """A TUN opened with IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, not closed here.

    One frame is read at a time, always into the same buffer.
    """

    __slots__ = ("_buffers", "_frame", "fd")

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        buffer = bytearray(FRAME_BYTES)
        self._buffers = (buffer,)
        self._frame = memoryview(buffer)

    def read(self) -> memoryview | None:
        """The next frame, valid until the next call; None: none is waiting at the moment.

        Raises HostNetworkError when the device is gone.
        """
        try:
            length = os.readv(self.fd, self._buffers)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EBADFD:
                raise HostNetworkError(
                    "the TUN device was deleted while it was in use",
                    hint="another program or `ip link` removed it; connect again",
                ) from error
            raise HostNetworkError(f"the TUN device can't be read: {error.strerror}") from error
        return self._frame[:length]

    def write(self, headers: bytes, payload: Sequence[Buffer] = ()) -> bool:
        """Hand a frame to the kernel; False where it has no room for it or the device is down.

        Nothing is kept for later: what matters is sent again by its sender, as on any network.
        """
        try:
            os.writev(self.fd, (headers, *payload))
        except OSError:
            return False
        return True
