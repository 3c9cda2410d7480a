"""What sessions that were killed have left in Istio's objects: found, removed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ktnet.cluster.holding import find_holder
from ktnet.cluster.istio.leftovers import Marked, list_dead, list_marked, remove_marked
from ktnet.cluster.istio.rules import Rules, find_rules
from ktnet.errors import Forbidden, NotFound
from ktnet.session.cluster import Cluster

log = logging.getLogger(__name__)

Tell = Callable[[str], None]


async def clean_rules(cluster: Cluster, *, all_users: bool, dry_run: bool, tell: Tell) -> int:
    """Take out what dead sessions have left; how many there were. None without Istio."""
    api, namespace = cluster.api, cluster.namespace
    try:
        rules = await find_rules(api, namespace)
        if rules is None:
            return 0
        dead = await list_dead(api, namespace, rules, me=find_holder(), all_users=all_users)
    except (Forbidden, NotFound) as error:
        log.info("Istio's objects are not looked through: %s", error)
        return 0
    for each in dead:
        if dry_run:
            whose = each.entry.session or "nobody known"
            tell(f"session {whose} has {each.entry.name} in {each.title}")
        else:
            await remove_marked(rules, each, tell)
    return len(dead)


async def find_wanted(cluster: Cluster, name: str | None) -> tuple[Rules | None, list[Marked]]:
    """What `recover` is to take out: of an object of that name, or all of this user's."""
    try:
        rules = await find_rules(cluster.api, cluster.namespace)
        marked = await list_marked(rules) if rules is not None else []
    except (Forbidden, NotFound) as error:
        log.info("Istio's objects are not looked through: %s", error)
        return None, []
    me = find_holder()
    return rules, [
        each
        for each in marked
        if (each.is_named(name) if name is not None else each.entry.holder == me)
    ]
