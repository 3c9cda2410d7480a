"""Links, addresses and routes, by way of the kernel's rtnetlink(7)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from ktnet.errors import HostNetworkError, HostPermissionError
from ktnet.host.facts import AddressFact, RouteFact, RuleFact
from ktnet.host.overlaps import ROUTE_METRIC
from ktnet.host.plan import LinkPlan
from ktnet.host.tun import RIGHTS_HINT

ROUTE_PROTOCOL = 107
"""Who made a route ("proto 107" in `ip route`): assigned to nobody in linux/rtnetlink.h and
iproute2's rt_protos, and the letter k."""

IPV6 = Path("/proc/sys/net/ipv6")

_AF_INET, _AF_INET6 = 2, 10
_LOOPBACK = 1
"""Its index, in every network namespace."""
_TABLE_LOCAL = 255
_SCOPE_LINK = 253
_TO_TABLE = 1
"""FR_ACT_TO_TBL of linux/fib_rules.h."""
_FIB_RULE_INVERT = 2
_NOTHING = 2**32 - 1
"""What FRA_SUPPRESS_PREFIXLEN says where nothing is suppressed."""
_NO_CONDITION = {"FRA_TABLE", "FRA_SUPPRESS_PREFIXLEN", "FRA_PROTOCOL", "FRA_PRIORITY"}
_ADDR_GEN_MODE_NONE = 1
"""IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local address, so no IPv6 packets."""

_DUMP_TRIES = 5
"""A dump during which the table changed is torn, and says so."""


def is_ipv6_there() -> bool:
    """Whether the kernel has IPv6."""
    return IPV6.exists()


@dataclass(frozen=True)
class LinkState:
    """A link as the kernel has it."""

    index: int
    name: str
    alias: str


QUEUE_PACKETS = 16384
"""That wait to be read from the TUN, 8 bytes of queue each. The default of 500 overflows when many
connections send at once: what is lost is sent again, but that takes time."""


class Netlink:
    """A socket to the kernel; see `open_netlink`."""

    def __init__(self, ipr: Any) -> None:
        self._ipr = ipr

    # --- facts ---

    def links(self) -> tuple[LinkState, ...]:
        """All links."""
        return tuple(
            LinkState(link["index"], link.get("ifname"), link.get("ifalias") or "")
            for link in _dump(self._ipr.get_links)
        )

    def addresses(self) -> tuple[AddressFact, ...]:
        """All IPv4 addresses."""
        names = self._names()
        facts = []
        for item in _dump(lambda: self._ipr.get_addr(family=_AF_INET)):
            # Of a point-to-point link, IFA_ADDRESS is the peer and IFA_LOCAL this machine's.
            far = item.get("address")
            near = item.get("local") or far
            if near is not None and far is not None:
                network = IPv4Network((far, item["prefixlen"]), strict=False)
                link = names.get(item["index"], "")
                facts.append(AddressFact(link, IPv4Address(near), network))
        return tuple(facts)

    def subnets6(self) -> tuple[IPv6Network, ...]:
        """The networks of all IPv6 addresses."""
        return tuple(
            IPv6Network((address, item["prefixlen"]), strict=False)
            for item in _dump(lambda: self._ipr.get_addr(family=_AF_INET6))
            if (address := item.get("address")) is not None
        )

    def routes(self) -> tuple[RouteFact, ...]:
        """The IPv4 routes of all tables but the one with the machine's own addresses."""
        names = self._names()
        facts = []
        for item in _dump(lambda: self._ipr.get_routes(family=_AF_INET)):
            table = item.get("table") or item["table"]
            if table == _TABLE_LOCAL:
                continue
            for index, gateway in _hops(item):
                facts.append(
                    RouteFact(
                        network=IPv4Network((item.get("dst") or "0.0.0.0", item["dst_len"])),
                        link=names.get(index, ""),
                        gateway=None if gateway is None else IPv4Address(gateway),
                        table=table,
                        metric=item.get("priority") or 0,
                    )
                )
        return tuple(facts)

    def rules(self) -> tuple[RuleFact, ...]:
        """The rules that ask tables of IPv4 routes, but for that of this machine's addresses."""
        facts = []
        for item in _dump(lambda: self._ipr.get_rules(family=_AF_INET)):
            table = item.get("table") or item["table"]
            if item["action"] != _TO_TABLE or table == _TABLE_LOCAL:
                continue
            suppressed = item.get("suppress_prefixlen")
            facts.append(
                RuleFact(
                    priority=item.get("priority") or 0,
                    table=table,
                    always=_is_unconditional(item),
                    suppressed=None if suppressed in (None, _NOTHING) else suppressed,
                )
            )
        return tuple(facts)

    def find_link(self, name: str, alias: str | None = None) -> LinkState | None:
        """The link of this name, and of this alias where one is given."""
        for link in self.links():
            if link.name == name and alias in (None, link.alias):
                return link
        return None

    def _names(self) -> dict[int, str]:
        return {link.index: link.name for link in self.links()}

    # --- changes ---

    def set_up_link(self, plan: LinkPlan, alias: str) -> int:
        """Give the new TUN its alias, addresses and MTU and set it up; returns its index."""
        link = self.find_link(plan.name)
        if link is None:
            raise HostNetworkError(f"the TUN device {plan.name} is gone")
        index = link.index
        with _explained(f"{plan.name} can't be set up"):
            self._ipr.link("set", index=index, ifalias=alias, mtu=plan.mtu, txqlen=QUEUE_PACKETS)
            if is_ipv6_there():
                self._ipr.link("set", index=index, IFLA_AF_SPEC=_WITHOUT_IPV6)
                # Containers may have /proc/sys read-only; then the above has to do.
                with suppress(OSError):
                    (IPV6 / "conf" / plan.name / "disable_ipv6").write_text("1")
            self._ipr.addr(
                "add",
                index=index,
                local=str(plan.address),
                address=str(plan.peer),
                prefixlen=32,
            )
            self._ipr.link("set", index=index, state="up")
        return index

    def set_up_loopback(self) -> None:
        """A new network namespace has it, but down."""
        with _explained("the loopback device can't be set up"):
            self._ipr.link("set", index=_LOOPBACK, state="up")

    def delete_link(self, index: int) -> None:
        """Delete a link, and with it its addresses and routes; one that is gone is fine."""
        with _explained("the TUN device can't be deleted", unless=errno.ENODEV):
            self._ipr.link("del", index=index)

    def add_route(self, network: IPv4Network, index: int) -> None:
        """Route a network into the link."""
        with _explained(f"the route to {network} can't be made"):
            self._ipr.route("add", **_route(network, index))

    def delete_route(self, network: IPv4Network, index: int) -> None:
        """Delete our route to this network through this link; one that is gone is fine."""
        with _explained(f"the route to {network} can't be deleted", unless=errno.ESRCH):
            self._ipr.route("del", **_route(network, index))

    def add_unreachable(self, network: IPv6Network) -> None:
        """Have the kernel say at once that a network can't be reached."""
        with _explained(f"the route to {network} can't be made", unless=errno.EEXIST):
            self._ipr.route("add", **_unreachable(network))

    def delete_unreachable(self, network: IPv6Network) -> None:
        """Delete our unreachable route; one that is gone is fine."""
        with _explained(f"the route to {network} can't be deleted", unless=errno.ESRCH):
            self._ipr.route("del", **_unreachable(network))


@contextmanager
def open_netlink() -> Iterator[Netlink]:
    """A socket to the kernel's routing family."""
    ipr = IPRoute()
    try:
        yield Netlink(ipr)
    finally:
        ipr.close()


_WITHOUT_IPV6 = {
    "attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]})]
}


def _route(network: IPv4Network, index: int) -> dict[str, Any]:
    return {
        "dst": str(network),
        "oif": index,
        "proto": ROUTE_PROTOCOL,
        "priority": ROUTE_METRIC,
        "scope": _SCOPE_LINK,
    }


def _is_unconditional(rule: Any) -> bool:
    """Whether a rule holds for all packets: no source, mark, device or such is named."""
    names = {name for name, _ in rule["attrs"]}
    return names <= _NO_CONDITION and not rule["tos"] and not rule["flags"] & _FIB_RULE_INVERT


def _unreachable(network: IPv6Network) -> dict[str, Any]:
    return {
        "family": _AF_INET6,
        "dst": str(network),
        "type": "unreachable",
        "proto": ROUTE_PROTOCOL,
        "priority": ROUTE_METRIC,
    }


def _hops(route: Any) -> list[tuple[int, str | None]]:
    """Link (0: none) and gateway of each way that a route has; several where it is multipath."""
    hops = route.get("multipath") or ()
    several = [(hop["oif"], dict(hop["attrs"]).get("RTA_GATEWAY")) for hop in hops]
    return several or [(route.get("oif") or 0, route.get("gateway"))]


def _dump(dump: Callable[[], Any]) -> list[Any]:
    for _ in range(_DUMP_TRIES):
        try:
            with _explained("links, addresses and routes can't be read"):
                return list(dump())
        except NetlinkDumpInterrupted:
            continue
    raise HostNetworkError("links, addresses and routes change too fast to be read")


@contextmanager
def _explained(what: str, *, unless: int = 0) -> Iterator[None]:
    try:
        yield
    except NetlinkDumpInterrupted:
        raise
    except NetlinkError as error:
        if error.code == unless:
            return
        if error.code in (errno.EPERM, errno.EACCES):
            raise HostPermissionError(
                f"{what}: the capability NET_ADMIN is missing",
                hint=RIGHTS_HINT,
            ) from error
        raise HostNetworkError(f"{what}: {os.strerror(error.code)}") from error
