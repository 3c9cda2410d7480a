"""systemd-resolved, told of the TUN: which names go to its nameserver, and that no others do.

org.freedesktop.resolve1(5). What is said of a link ends with the link, whoever removes it; nothing
is written to a disk, and /etc/resolv.conf stays as it is.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from jeepney import DBusAddress

from ktnet.errors import DnsError
from ktnet.host.resolver_plan import ResolvedPlan
from ktnet.host.system_bus import SOCKET, BusRefusal, SystemBus, open_system_bus

NAME = "org.freedesktop.resolve1"
_MANAGER = DBusAddress("/org/freedesktop/resolve1", NAME, f"{NAME}.Manager")

_UNKNOWN_METHOD = "org.freedesktop.DBus.Error.UnknownMethod"
_GONE = frozenset(
    {
        f"{NAME}.NoSuchLink",
        # systemd-resolved has ended, and nobody starts it for us.
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.ServiceUnknown",
    }
)


def is_resolved_there(bus_socket: Path = SOCKET) -> bool:
    """Whether systemd-resolved runs and takes orders on the system bus. Raises nothing."""
    if not bus_socket.is_socket():
        return False
    try:
        with open_system_bus(bus_socket) as bus:
            return bus.has(NAME)
    except DnsError:
        return False


def tell_resolved(index: int, plan: ResolvedPlan, bus_socket: Path = SOCKET) -> None:
    """Have names go as planned by link `index`; may be said again with another plan.

    What was remembered of names until now is forgotten. Raises DnsError; then the link may know a
    part of it, which `revert_resolved` takes back.
    """
    domains = [(d, False) for d in plan.search] + [(d, True) for d in plan.routing]
    with open_system_bus(bus_socket) as bus:
        try:
            # First that nothing else goes there, at last the server: no name is sent astray.
            _tell(bus, "SetLinkDefaultRoute", "ib", (index, False))
            # It is no network with other machines in it, and the tunnel carries DNS itself: the
            # cluster's answers are signed by nobody, and the proxy is on this very machine.
            for setting in ("LLMNR", "MulticastDNS", "DNSSEC", "DNSOverTLS"):
                _tell_where_known(bus, f"SetLink{setting}", "is", (index, "no"))
            _tell(bus, "SetLinkDomains", "ia(sb)", (index, domains))
            server = (int(socket.AF_INET), plan.nameserver.packed)
            _tell(bus, "SetLinkDNS", "ia(iay)", (index, [server]))
            _tell(bus, "FlushCaches", "", ())
        except BusRefusal as error:
            raise DnsError(
                f"systemd-resolved can't be told of the tunnel: {error.message}",
                hint="have the resolver's file changed instead: --dns-mode resolvconf",
            ) from error


def revert_resolved(index: int, bus_socket: Path = SOCKET) -> None:
    """Take back what the link was told. Raises DnsError.

    Where systemd-resolved has ended, or was ended with its bus, there is nothing to take back.
    """
    if not bus_socket.is_socket():
        return
    with open_system_bus(bus_socket) as bus:
        try:
            _tell(bus, "RevertLink", "i", (index,))
        except BusRefusal as error:
            if error.name not in _GONE:
                raise


def _tell(bus: SystemBus, method: str, signature: str, arguments: tuple[Any, ...]) -> None:
    bus.call(_MANAGER, method, signature, arguments)


def _tell_where_known(
    bus: SystemBus, method: str, signature: str, arguments: tuple[Any, ...]
) -> None:
    """Passes over a setting that this version of systemd-resolved doesn't have."""
    try:
        _tell(bus, method, signature, arguments)
    except BusRefusal as error:
        if error.name != _UNKNOWN_METHOD:
            raise
