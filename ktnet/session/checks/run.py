"""All checks of a command, in the order in which it would meet what they look at."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ktnet.cluster.rights import Command
from ktnet.errors import KtnetError
from ktnet.session.checks.access import check_access
from ktnet.session.checks.deep import check_deep
from ktnet.session.checks.firewall import check_firewall
from ktnet.session.checks.machine import check_machine
from ktnet.session.checks.namespace import check_namespace
from ktnet.session.checks.network import check_network
from ktnet.session.checks.result import Check, fail
from ktnet.session.cluster import open_cluster
from ktnet.session.options import ConnectOptions


async def run_checks(
    command: Command, options: ConnectOptions, *, needs_tun: bool, deep: bool
) -> AsyncIterator[Check]:
    """One after the other; with `deep`, a shadow is started and ended too."""
    for check in check_machine(needs_tun=needs_tun):
        yield check
    try:
        async with open_cluster(options.cluster) as cluster:
            reached = True
            async for check in check_access(cluster):
                reached = reached and check.result != "fail"
                yield check
            if not reached:
                return
            admitted = True
            async for check in check_namespace(cluster, command, options.shadow):
                admitted = admitted and check.result != "fail"
                yield check
            if needs_tun:
                async for check in check_network(cluster, options):
                    yield check
                yield await check_firewall()
            if deep and admitted:
                async for check in check_deep(cluster, options.shadow):
                    yield check
    except KtnetError as error:
        yield fail("kubeconfig", error)
