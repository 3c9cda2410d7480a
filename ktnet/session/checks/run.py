"""All checks of a command, in the order in which it would meet what they look at."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

from ktnet.errors import KtnetError
from ktnet.session.checks.access import check_access
from ktnet.session.checks.deep import check_deep
from ktnet.session.checks.firewall import check_firewall
from ktnet.session.checks.machine import Needs, check_machine
from ktnet.session.checks.namespace import check_namespace, choose_rights
from ktnet.session.checks.network import check_network
from ktnet.session.checks.result import Check, fail
from ktnet.session.cluster import open_cluster
from ktnet.session.options import ConnectOptions

Checked = Literal["connect", "exec", "forward", "exchange", "mesh", "run"]
"""The commands that can be looked at beforehand."""


async def run_checks(
    command: Checked, options: ConnectOptions, *, mode: Literal["tun", "proxy"], deep: bool
) -> AsyncGenerator[Check, None]:
    """One after the other; with `deep`, a shadow is started and ended too."""
    needs = _find_needs(command, mode)
    fit = True
    for check in check_machine(needs):
        fit = fit and check.result != "fail"
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
            rights = choose_rights(command, options.shadow, only_tunnel=needs == "nothing")
            async for check in check_namespace(cluster, command, rights, options.shadow):
                admitted = admitted and check.result != "fail"
                yield check
            if needs != "nothing":
                async for check in check_network(cluster, options, changes_host=needs == "host"):
                    yield check
            if needs == "host" and fit:
                yield await check_firewall()
            if deep and admitted:
                async for check in check_deep(cluster, options.shadow):
                    yield check
    except KtnetError as error:
        yield fail("kubeconfig", error)


def _find_needs(command: Checked, mode: Literal["tun", "proxy"]) -> Needs:
    if command == "exec":
        return "sandbox"
    return "host" if command == "connect" and mode == "tun" else "nothing"
