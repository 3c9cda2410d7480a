"""A TAP device (Linux's Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h)."""

from __future__ import annotations

import fcntl
import os
import struct

from ktnet.errors import HostNetworkError

DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_TUN_EXCL = 0x8000
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
"""TCP over IPv4 comes unsegmented; whatever else, the kernel cuts up before."""

_IFREQ = struct.Struct("16sH22x")


def open_tap(name: str) -> int:
    """A new TAP of this name in this thread's network namespace, gone with its descriptor.

    Non-blocking; frames come and go behind a virtio_net_hdr, TCP over IPv4 of up to 64 KiB
    unsegmented and without checksums. Raises HostNetworkError.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HostNetworkError(
            f"{DEVICE} can't be opened: {error.strerror}",
            hint="the lab changes a laptop's packets by way of it: modprobe tun",
        ) from error
    try:
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL
        fcntl.ioctl(descriptor, TUNSETIFF, _IFREQ.pack(name.encode(), flags))
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    except OSError as error:
        os.close(descriptor)
        raise HostNetworkError(f"the TAP device {name} can't be made: {error.strerror}") from error
    return descriptor
