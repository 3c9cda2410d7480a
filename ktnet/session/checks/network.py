"""What would be taken into the tunnel, what stands in its way, and who manages names here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ktnet.cluster.cidrs import (
    api_server_addresses,
    api_server_addresses6,
    find_cluster_ranges,
)
from ktnet.errors import KtnetError
from ktnet.host.facts import HostFacts
from ktnet.host.plan import plan_host
from ktnet.host.survey import survey_host
from ktnet.session.checks.result import Check, fail, ok, skip, warn
from ktnet.session.cluster import Cluster
from ktnet.session.options import ConnectOptions


async def check_network(
    cluster: Cluster, options: ConnectOptions, *, changes_host: bool
) -> AsyncIterator[Check]:
    """A plan is made as `connect` would make it, and thrown away."""
    try:
        ranges = await find_cluster_ranges(cluster.api, cluster.namespace)
        excluded = await api_server_addresses(cluster.api)
        excluded6 = await api_server_addresses6(cluster.api)
    except KtnetError as error:
        yield fail("ranges", error)
        return
    for text in ranges.warnings:
        yield warn("ranges", text)
    if ranges.evidence:
        yield ok("ranges", "; ".join(ranges.evidence))
    if not changes_host:
        yield skip("routes", "this machine's own are left as they are")
        return
    facts = await asyncio.to_thread(survey_host)  # netlink's client has a loop of its own
    try:
        plan = plan_host(
            facts,
            (*ranges.services, *ranges.pods),
            [*options.exclude, *excluded],
            included=options.include,
            ipv6=ranges.ipv6,
            excluded6=excluded6,
        )
    except KtnetError as error:
        yield fail("routes", error)
        return
    for text in plan.warnings:
        yield warn("routes", text, "--exclude and --include say it otherwise")
    yield ok("routes", f"{', '.join(map(str, plan.routes))} would go into {plan.link.name}")
    yield _check_names(facts)


def _check_names(facts: HostFacts) -> Check:
    resolver = facts.resolver
    servers = ", ".join(resolver.nameservers) or "nobody"
    kind = {
        "file": "/etc/resolv.conf is a file",
        "symlink": "/etc/resolv.conf is a link",
        "bind-mount": "/etc/resolv.conf is a mount, as in containers",
        "missing": "there is no /etc/resolv.conf",
    }[resolver.kind]
    manager = ", and systemd-resolved answers behind it" if resolver.stub else ""
    return ok("names", f"{kind}{manager}; {servers} would go on being asked for outside names")
