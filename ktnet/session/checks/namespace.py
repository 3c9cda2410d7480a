"""What we may in the namespace, and what would become of a shadow there: by dry runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from ktnet.cluster.holding import find_holder
from ktnet.cluster.leftovers import list_leftovers
from ktnet.cluster.rights import (
    Command,
    describe_rights,
    list_for_router,
    list_optional,
    list_required,
)
from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.review import list_missing
from ktnet.cluster.shadow.manifests import build_job
from ktnet.errors import Forbidden, KtnetError, NotFound, ShadowFailed
from ktnet.link.keys import new_client_key
from ktnet.session.checks.result import Check, fail, ok, skip, warn
from ktnet.session.cluster import Cluster
from ktnet.session.options import ShadowOptions
from ktnet.session.tunnel import build_spec


async def check_namespace(
    cluster: Cluster, command: Command, shadow: ShadowOptions
) -> AsyncIterator[Check]:
    """In the order in which a session would meet it."""
    rights = await _check_required(cluster, command, shadow)
    yield rights
    async for check in _check_optional(cluster, command):
        yield check
    if rights.result == "fail":
        yield skip("shadow", "not tried without the rights")
    else:
        yield await _check_shadow(cluster, shadow)
    yield await _check_leftovers(cluster)


async def _check_required(cluster: Cluster, command: Command, shadow: ShadowOptions) -> Check:
    needed = (
        list_for_router()  # what `ktnet mesh` does where nothing else is said
        if command == "mesh"
        else list_required(command, port_forward=shadow.via == "port-forward")
    )
    missing = await list_missing(cluster.api, cluster.namespace, needed)
    if missing:
        return fail(
            "rights",
            Forbidden(
                f"not allowed to {describe_rights(missing, cluster.namespace)}",
                hint="docs/rights.md has the Role that ktnet needs",
            ),
        )
    return ok("rights", f"all that `ktnet {command}` needs in namespace {cluster.namespace}")


async def _check_optional(cluster: Cluster, command: Command) -> AsyncIterator[Check]:
    lost = [
        each.lost
        for each in list_optional(command)
        if await list_missing(cluster.api, cluster.namespace, each.rights)
    ]
    for each in lost:
        yield warn("rights-optional", each, "docs/rights.md has the rights that would help")
    if not lost:
        yield ok("rights-optional", "all of them")


async def _check_shadow(cluster: Cluster, shadow: ShadowOptions) -> Check:
    """A dry run of the very pod where that may be made, else of its Job."""
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
    try:
        await cluster.api.create("pods", pod, namespace=cluster.namespace, dry_run=True)
    except Forbidden:
        return await _check_job(cluster, job)
    except NotFound as error:
        return fail("shadow", error)
    except Refused as error:
        return fail(
            "shadow",
            ShadowFailed(
                f"the cluster would not admit the shadow: {error.message}", hint=error.hint
            ),
        )
    return ok("shadow", f"would be admitted (image {spec.image} is not tried; --deep does)")


async def _check_job(cluster: Cluster, job: dict) -> Check:  # type: ignore[type-arg]
    try:
        await cluster.api.create("jobs", job, namespace=cluster.namespace, dry_run=True)
    except Refused as error:
        return fail(
            "shadow", ShadowFailed(f"the cluster would not admit the shadow: {error.message}")
        )
    except KtnetError as error:
        return fail("shadow", error)
    return ok(
        "shadow", "its Job would be admitted (whether its pod would takes the right to create pods)"
    )


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
