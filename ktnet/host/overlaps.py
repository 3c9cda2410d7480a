"""Whose route to an address is in force, ours or one that was there, and how to say it. Pure.

In one table the more specific route is, and of two alike the one with the smaller metric. But which
table is asked first is said by rules (ip-rule(8)), and the first that has a route at all decides.
Our routes are in the main table, so a table that is asked before it (as VPNs have one) overrides
them even by wider routes, and one that is asked after it counts for nothing where ours are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network
from typing import Literal

from ktnet.host.checker import DEFAULT_LIKE_PREFIX
from ktnet.host.facts import RouteFact, RuleFact

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

ROUTE_METRIC = 7022
"""Above what DHCP clients and network managers give, so that of two routes to the same network
the one that was not ours wins."""

Turn = Literal["first", "sometimes", "with ours", "after ours", "never"]
"""When a route is asked for, where the main table has one too."""


def explain_overlaps(
    planned: Sequence[IPv4Network], routes: Iterable[RouteFact], rules: Sequence[RuleFact]
) -> Iterator[str]:
    """A sentence for each route that has to do with a planned one. Without rules, all count."""
    for route in routes:
        touched = [network for network in planned if network.overlaps(route.network)]
        if not touched:
            continue
        turn, rule = find_turn(route, rules)
        is_default = route.network.prefixlen <= DEFAULT_LIKE_PREFIX
        if rule is not None and (turn == "first" or (turn == "sometimes" and not is_default)):
            yield _explain_override(touched, route, rule, always=turn == "first")
        elif turn == "with ours" and not is_default:
            yield _explain_same_table(touched, route)
        elif turn == "after ours" and not is_default:
            yield f"{_join(touched)} is captured, though table {route.table} has {_name(route)}"


def find_turn(route: RouteFact, rules: Sequence[RuleFact]) -> tuple[Turn, RuleFact | None]:
    """When `route` is asked for, and by which rule where that is before our routes."""
    if not rules or route.table == MAIN_TABLE:
        return "with ours", None
    asking = [r for r in rules if r.table == route.table and not _suppresses(r, route.network)]
    if not asking:
        return "never", None
    ours = [r.priority for r in rules if r.table == MAIN_TABLE and r.always and _heeds_ours(r)]
    before = [r for r in asking if not ours or r.priority < min(ours)]
    always = [r for r in before if r.always]
    if always:
        return "first", min(always, key=lambda r: r.priority)
    if before:
        return "sometimes", min(before, key=lambda r: r.priority)
    return "after ours", None


def _suppresses(rule: RuleFact, network: IPv4Network) -> bool:
    return rule.suppressed is not None and network.prefixlen <= rule.suppressed


def _heeds_ours(rule: RuleFact) -> bool:
    """Ours are hardly ever as wide as what is suppressed: the default route."""
    return rule.suppressed is None or rule.suppressed <= DEFAULT_LIKE_PREFIX


def _explain_override(
    touched: Sequence[IPv4Network], route: RouteFact, rule: RuleFact, *, always: bool
) -> str:
    goes = "goes" if always else "may go"
    return (
        f"{_join(touched)} {goes} by {_name(route)} of table {route.table}, which a rule asks"
        f" before ours: to capture it, ip rule add to {touched[0]} lookup main priority"
        f" {max(1, rule.priority - 1)}"
    )


def _explain_same_table(touched: Sequence[IPv4Network], route: RouteFact) -> str:
    within = [network for network in touched if route.network.subnet_of(network)]
    if not within:
        return f"{_join(touched)} is captured, though the wider {_name(route)} covers it"
    if route.network == within[0] and route.metric > ROUTE_METRIC:
        return f"{within[0]} is captured: the {_name(route)} has a greater metric"
    return f"the {_name(route)} stays in force: that part of {within[0]} is not captured"


def _name(route: RouteFact) -> str:
    return f"route to {route.network} by {route.link or 'no device'}"


def _join(networks: Sequence[IPv4Network]) -> str:
    return ", ".join(map(str, networks[:3])) + (" ..." if len(networks) > 3 else "")
