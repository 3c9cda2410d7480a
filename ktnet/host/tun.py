"""The TUN device and the sockets on its address: descriptors to be handed to the client.

Linux's Documentation/networking/tuntap.rst and include/uapi/linux/if_tun.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from ipaddress import IPv4Address

from ktnet.errors import DnsError, HostNetworkError, HostPermissionError

DEVICE = "/dev/net/tun"

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_TUN_EXCL = 0x8000
"""Fail where the name is taken, instead of attaching to somebody's persistent device."""
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04

_IFREQ = struct.Struct("16sH22x")
"""struct ifreq of linux/if.h: the name, and of the union the flags."""

_WITHOUT = "without them there is: ktnet connect --mode proxy"
RIGHTS_HINT = (
    f"run as root; a container needs --cap-add NET_ADMIN --device /dev/net/tun; {_WITHOUT}"
)

DNS_PORT = 53
DNS_BACKLOG = 128
"""Of the TCP listener: local applications whose answer was truncated, all at once."""


def open_device() -> int:
    """A descriptor of the device, which isn't a TUN yet; non-blocking.

    Raises HostPermissionError where it is missing, no device, or not ours to use.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HostPermissionError(
            f"{DEVICE} can't be opened: {error.strerror}", hint=_device_hint(error.errno)
        ) from error
    if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HostPermissionError(
            f"{DEVICE} is no device", hint=f"mknod {DEVICE} c 10 200, in place of what is there"
        )
    return descriptor


def build_missing_right() -> HostPermissionError:
    """Why a process without NET_ADMIN makes no TUN."""
    return HostPermissionError(
        "the TUN device can't be made: the capability NET_ADMIN is missing", hint=RIGHTS_HINT
    )


def open_tun(name: str) -> int:
    """A new, non-persistent TUN of this name: it is gone when the last descriptor is closed.

    Non-blocking; packets come and go behind a virtio_net_hdr, TCP of up to 64 KiB unsegmented and
    without checksums. Raises HostPermissionError, or HostNetworkError where the name is taken.
    """
    descriptor = open_device()
    try:
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL
        fcntl.ioctl(descriptor, TUNSETIFF, _IFREQ.pack(name.encode(), flags))
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EPERM:
            raise build_missing_right() from error
        raise HostNetworkError(f"the TUN device {name} can't be made: {error.strerror}") from error
    return descriptor


def open_dns_sockets(name: str, address: IPv4Address) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a listening TCP socket on port 53 of TUN `name`'s address; non-blocking.

    Bound to the device too, since Linux takes packets for any of its addresses on any interface
    (the weak host model of RFC 1122 section 3.3.4.2): neighbours with a route to this one could
    else ask for the cluster's names. What this machine sends to an own address counts as arrived
    on the device that has it. Raises DnsError where the port is taken or not allowed.
    """
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        for each in (udp, tcp):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        # Not for UDP: there it would let us share the port with somebody who answers too.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((str(address), DNS_PORT))
        tcp.bind((str(address), DNS_PORT))
        tcp.listen(DNS_BACKLOG)
    except OSError as error:
        udp.close()
        tcp.close()
        hint = ""
        if error.errno == errno.EADDRINUSE:
            hint = "a DNS server listens on all addresses: see ss -lnp sport = 53"
        raise DnsError(
            f"port {DNS_PORT} of {address} can't be bound: {error.strerror}", hint=hint
        ) from error
    return udp, tcp


def _device_hint(number: int | None) -> str:
    if number == errno.ENOENT:
        return (
            "load it with: modprobe tun; a container needs --cap-add NET_ADMIN --device "
            f"/dev/net/tun; {_WITHOUT}"
        )
    if number in (errno.ENODEV, errno.ENXIO):
        return "the kernel has no TUN driver: modprobe tun"
    return RIGHTS_HINT
