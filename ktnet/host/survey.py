"""What this machine looks like, for those who only look: no rights are needed."""

from __future__ import annotations

from ktnet.host.facts import HostFacts
from ktnet.host.netlink import open_netlink
from ktnet.host.resolver import survey_resolver


def survey_host() -> HostFacts:
    """The facts that a plan is made from, as the helper would find them (but for what it mends).

    Raises HostNetworkError.
    """
    with open_netlink() as netlink:
        return HostFacts(
            links=tuple(link.name for link in netlink.links()),
            addresses=netlink.addresses(),
            routes=netlink.routes(),
            resolver=survey_resolver(),
            subnets6=netlink.subnets6(),
            rules=netlink.rules(),
        )
