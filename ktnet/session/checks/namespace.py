"""What we may in the namespace, and what would become of a shadow there: by dry runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import cast, get_args

from ktnet.cluster.holding import find_holder
from ktnet.cluster.leftovers import list_leftovers
from ktnet.cluster.rights import (
    Command,
    Optional,
    Right,
    list_for_router,
    list_optional,
    list_required,
    list_welcome,
)
from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.review import list_missing, require_rights
from ktnet.cluster.shadow.manifests import build_job
from ktnet.cluster.shadow.verdict import build_admission_error
from ktnet.errors import Forbidden, KtnetError
from ktnet.link.keys import new_client_key
from ktnet.session.checks.result import Check, fail, ok, skip, warn
from ktnet.session.cluster import Cluster
from ktnet.session.options import ShadowOptions
from ktnet.session.tunnel import build_spec


@dataclass(frozen=True, slots=True)
class Rights:
    """Those of a command."""

    required: tuple[Right, ...]
    optional: tuple[Optional, ...]


def choose_rights(command: str, shadow: ShadowOptions, *, only_tunnel: bool) -> Rights:
    """What `ktnet COMMAND` asks for; with `only_tunnel`, it needs no names of this machine."""
    if command == "mesh":
        # What it does where nothing else is said.
        return Rights(list_for_router(), list_optional("mesh"))
    kind = cast("Command", command if command in get_args(Command) else "connect")
    required = list_required(
        kind,
        port_forward=shadow.via == "port-forward",
        sideload=shadow.sideload,
    )
    needs_names = kind != "connect" or not only_tunnel
    return Rights(required, list_optional(kind) if needs_names else list_welcome())


async def check_namespace(
    cluster: Cluster, command: str, needed: Rights, shadow: ShadowOptions
) -> AsyncIterator[Check]:
    """In the order in which a session would meet it."""
    rights = await _check_required(cluster, command, needed)
    yield rights
    async for check in _check_optional(cluster, needed):
        yield check
    if rights.result == "fail":
        yield skip("shadow", "not tried without the rights")
    else:
        yield await _check_shadow(cluster, shadow)
    yield await _check_leftovers(cluster)


async def _check_required(cluster: Cluster, command: str, needed: Rights) -> Check:
    try:
        await require_rights(cluster.api, cluster.namespace, needed.required)
    except Forbidden as error:
        return fail("rights", error)
    return ok("rights", f"all that `ktnet {command}` needs in namespace {cluster.namespace}")


async def _check_optional(cluster: Cluster, needed: Rights) -> AsyncIterator[Check]:
    lost = [
        each.lost
        for each in needed.optional
        if await list_missing(cluster.api, cluster.namespace, each.rights)
    ]
    for each in lost:
        yield warn("rights-optional", each, "docs/rights.md has the rights that would help")
    if not lost:
        yield ok("rights-optional", "all of them")


async def _check_shadow(cluster: Cluster, shadow: ShadowOptions) -> Check:
    """Dry runs of its Job, and of the very pod where that may be made."""
    _, key = new_client_key()
    spec = replace(build_spec(shadow, cluster.namespace), authorized_key=key)
    job = build_job("ktnet-check", spec)
    template = job["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"generateName": "ktnet-check-"},
        "spec": template["spec"],
    }
    namespace = cluster.namespace
    try:
        await cluster.api.create("jobs", job, namespace=namespace, dry_run=True)
        try:
            await cluster.api.create("pods", pod, namespace=namespace, dry_run=True)
        except Forbidden:
            return ok(
                "shadow",
                "its Job would be admitted; whether its pod would takes the right to create pods",
            )
    except Refused as error:
        return fail("shadow", build_admission_error(error.message))
    except KtnetError as error:
        return fail("shadow", error)
    return ok("shadow", f"would be admitted (image {spec.image} is not tried; --deep does)")


async def _check_leftovers(cluster: Cluster) -> Check:
    try:
        found = await list_leftovers(
            cluster.api, cluster.namespace, me=find_holder(), all_users=True
        )
    except Forbidden:
        return skip("leftovers", "not looked for without the right to list jobs and leases")
    if found:
        whose = ", ".join(sorted({each.holder or "somebody" for each in found}))
        return warn(
            "leftovers", f"{len(found)} dead sessions of {whose}", "ktnet clean --all-users"
        )
    return ok("leftovers", "none of dead sessions")
