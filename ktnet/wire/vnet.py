"""The header that a TUN device with IFF_VNET_HDR puts before each packet.

`struct virtio_net_hdr` of Linux's include/uapi/linux/virtio_net.h, in the machine's byte order
unless TUNSETVNETLE or TUNSETVNETBE said otherwise. With it the kernel hands over packets larger
than the MTU, not yet cut into segments (GSO), and leaves checksums undone; it takes the same.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ktnet.errors import RemoteProtocolError

VNET_HEADER = struct.Struct("=BBHHHH")
VNET_HEADER_BYTES = VNET_HEADER.size

FLAG_NEEDS_CHECKSUM = 1
"""The checksum field holds the pseudo header's sum only: whoever sends it on must complete it."""
FLAG_DATA_VALID = 2
"""The kernel has verified the checksum."""
TRUSTED_FLAGS = FLAG_NEEDS_CHECKSUM | FLAG_DATA_VALID
"""Any of these: the packet never left this machine, or the kernel has verified it."""

GSO_NONE = 0
GSO_TCP_IPV4 = 1


class VnetHeader(NamedTuple):
    """The fields in their order; lengths and offsets in bytes, counted from the IP header."""

    flags: int
    gso_type: int
    header_length: int
    gso_size: int
    """Payload bytes of each segment that a GSO packet is to be cut into."""
    checksum_start: int
    checksum_offset: int

    @property
    def checksum_is_trusted(self) -> bool:
        """Whether nobody has to verify it."""
        return bool(self.flags & TRUSTED_FLAGS)


def parse_vnet_header(frame: bytes | bytearray | memoryview) -> VnetHeader:
    """The header at the start of a frame; the packet follows at VNET_HEADER_BYTES."""
    if len(frame) < VNET_HEADER_BYTES:
        raise RemoteProtocolError(f"a frame of {len(frame)} bytes from the TUN device")
    return VnetHeader._make(VNET_HEADER.unpack_from(frame))


PLAIN_VNET_HEADER = bytes(VNET_HEADER_BYTES)
"""Before a packet that is complete as it is, checksums included."""
