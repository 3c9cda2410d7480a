"""What sessions that were killed have left in the cluster: found, put back, removed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ktnet.cluster import leftovers
from ktnet.cluster.cleaning import Taken
from ktnet.cluster.exchange.workload import KINDS
from ktnet.cluster.holding import describe_silence, find_holder
from ktnet.cluster.istio.leftovers import recover_marked
from ktnet.cluster.mesh.leftovers import (
    list_mesh_leftovers,
    list_meshed,
    recover_mesh,
    remove_members,
)
from ktnet.cluster.mesh.router import delete_router
from ktnet.cluster.sessions import SessionView, list_sessions
from ktnet.errors import Forbidden, KtnetError, NotFound
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.istio_leftovers import clean_rules, find_wanted
from ktnet.session.options import ClusterOptions
from ktnet.session.report import Report

log = logging.getLogger(__name__)

Tell = Callable[[str], None]


async def recover(options: ClusterOptions, name: str | None, *, force: bool, tell: Tell) -> None:
    """Put back the workload or Service of that name, or all of this user's.

    Raises NotFound where there is nothing to put back, Conflict where its holder is there.
    """
    async with open_cluster(options) as cluster:
        taken = await leftovers.list_taken(cluster.api, cluster.namespace)
        me = find_holder()
        wanted = [
            each
            for each in taken
            if (is_named(each, name) if name is not None else each.record.holder == me)
        ]
        meshed = [
            mesh
            for _, mesh in await list_meshed(cluster.api, cluster.namespace)
            if (
                name in (mesh.service, mesh.title, f"svc/{mesh.service}")
                if name is not None
                else any(each.holder == me for each in mesh.record.members)
            )
        ]
        rules, marked = await find_wanted(cluster, name)
        if not wanted and not meshed and not marked:
            raise NotFound(
                f"nothing of ktnet's to put back in namespace {cluster.namespace}"
                + (f" by the name of {name}" if name else f" that {me} has taken"),
                hint=_describe_others(taken),
            )
        await leftovers.recover(cluster.api, cluster.namespace, wanted, force=force, tell=tell)
        for mesh in meshed:
            await recover_mesh(cluster.api, cluster.namespace, mesh, force=force, tell=tell)
        if rules is not None:
            await recover_marked(
                cluster.api, cluster.namespace, rules, marked, force=force, tell=tell
            )


def is_named(taken: Taken, text: str) -> bool:
    """Whether that is how a user calls it: "tomcat", "deployment/tomcat", "sts/db"."""
    kind, slash, name = text.partition("/")
    if not slash:
        return taken.subject.name == text
    return taken.subject.name == name and KINDS.get(kind.lower()) == taken.subject.plural


def _describe_others(taken: list[Taken]) -> str:
    held = [f"{each.subject.title} ({each.record.holder})" for each in taken]
    return f"held there: {', '.join(held)}" if held else ""


async def clean(options: ClusterOptions, *, all_users: bool, dry_run: bool, tell: Tell) -> int:
    """Undo and remove what dead sessions left in the namespace; how many there were."""
    async with open_cluster(options) as cluster:
        found = await leftovers.list_leftovers(
            cluster.api, cluster.namespace, me=find_holder(), all_users=all_users
        )
        for each in found:
            if dry_run:
                held = [taken.subject.title for taken in each.taken]
                silent = f", silent for {describe_silence(each.silent_s)}" if each.jobs else ""
                tell(
                    f"session {each.session} of {each.holder or 'somebody'}{silent}"
                    + (f" holds {', '.join(held)}" if held else "")
                )
            else:
                await leftovers.remove(cluster.api, cluster.namespace, each, tell)
        meshes = await _clean_meshes(cluster, all_users=all_users, dry_run=dry_run, tell=tell)
        ruled = await clean_rules(cluster, all_users=all_users, dry_run=dry_run, tell=tell)
        return len(found) + meshes + ruled


async def _clean_meshes(cluster: Cluster, *, all_users: bool, dry_run: bool, tell: Tell) -> int:
    api, namespace = cluster.api, cluster.namespace
    found = await list_mesh_leftovers(api, namespace, me=find_holder(), all_users=all_users)
    for mesh, gone in found.members:
        if dry_run:
            for each in gone:
                tell(f"session {each.session} of {each.holder} meshes {mesh.title} ({each.mark})")
        else:
            await remove_members(api, namespace, mesh, gone, tell)
    for router in found.routers:
        if dry_run:
            tell(f"router {router} stands in front of nothing")
        else:
            await delete_router(api, namespace, router)
            tell(f"removed router {router}")
    return len(found.members) + len(found.routers)


async def list_all_sessions(options: ClusterOptions, *, everywhere: bool) -> list[SessionView]:
    """Whose sessions there are, of all users: in the namespace, or in all of them."""
    async with open_cluster(options) as cluster:
        return await list_sessions(cluster.api, None if everywhere else cluster.namespace)


async def tidy(cluster: Cluster, report: Report) -> None:
    """At the start of a session: what this user's dead ones on this machine left, put back first.

    Silent unless it did something; a right that is missing, or anything else that fails, is no
    reason not to begin.
    """
    try:
        found = await leftovers.list_leftovers(cluster.api, cluster.namespace, me=find_holder())
        for each in found:
            await leftovers.remove(cluster.api, cluster.namespace, each, report.note)
        await _clean_meshes(cluster, all_users=False, dry_run=False, tell=report.note)
    except Forbidden as error:
        log.info("leftovers are not looked for: %s", error)
    except KtnetError as error:
        log.warning("leftovers were not removed: %s", error)
