"""A router in the cluster: made with all that it needs, and removed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ktnet.cluster.mesh.router_manifests import (
    REPLICAS,
    RouterSpec,
    build_budget,
    build_deployment,
    build_deployment_owner,
    build_origin,
    build_router_account,
    build_start,
)
from ktnet.cluster.readiness import is_available
from ktnet.cluster.server.api import Api
from ktnet.cluster.shadow.account import may_make_account
from ktnet.errors import Conflict, Forbidden, KtnetError, NotFound, ShadowFailed
from ktnet.wire.meshrecord import build_selector

log = logging.getLogger(__name__)

Json = dict[str, Any]

_LOOK_INTERVAL_S = 0.2
_BUSY_CLUSTER_S = 10.0
"""What a cluster may take beyond the pods' grace until all is gone."""


@dataclass(frozen=True, slots=True)
class Router:
    """A Deployment of routers."""

    name: str
    uid: str

    @property
    def owner(self) -> Json:
        """The ownerReference to it."""
        return build_deployment_owner(self.name, self.uid)


async def make_router(api: Api, spec: RouterSpec, tell: Callable[[str], None]) -> Router:
    """Make the objects, the Deployment first and its pods last; what fails is undone.

    Raises what the API server says. `tell` is told where it can't put the Service back by itself.
    """
    namespace = spec.shadow.namespace
    # The pods' arguments come with them, when it is known where they lead.
    restores = await _may_restore(api, spec, tell)
    spec = replace(spec, restores=restores)
    made = await api.create("deployments", build_deployment(spec), namespace=namespace)
    router = Router(spec.name, str(made["metadata"]["uid"]))
    try:
        await _fill(api, spec, router)
    except BaseException:
        await delete_router(api, namespace, router.name)
        raise
    return router


async def _fill(api: Api, spec: RouterSpec, router: Router) -> None:
    namespace = spec.shadow.namespace

    async def add(plural: str, obj: Json) -> Json:
        obj["metadata"]["ownerReferences"] = [router.owner]
        return await api.create(plural, obj, namespace=namespace)

    origin = await add("services", build_origin(spec))
    if spec.restores:
        for plural, obj in build_router_account(spec):
            await add(plural, obj)
    with suppress(Forbidden):
        # Welcome, where it may be had: without it a drained node may take both pods at once.
        await add("poddisruptionbudgets", build_budget(spec))
    patch = build_start(spec, origin["spec"]["clusterIP"])
    await api.patch("deployments", spec.name, patch, kind="json", namespace=namespace)


async def _may_restore(api: Api, spec: RouterSpec, tell: Callable[[str], None]) -> bool:
    namespace = spec.shadow.namespace
    if await may_make_account(api, namespace, build_router_account(spec)):
        return True
    tell(
        f"no right to give the router a Role: should all laptops crash, service/{spec.service} "
        f"leads to its own pods through the router until `ktnet clean -n {namespace}`"
    )
    return False


async def wait_until_routing(api: Api, namespace: str, name: str, timeout_s: float) -> None:
    """Until all of its pods are Ready. ShadowFailed: they aren't."""

    async def is_routing() -> bool:
        deployment = await api.get("deployments", name, namespace=namespace)
        return is_available(deployment, REPLICAS)

    try:
        async with asyncio.timeout(timeout_s):
            await _wait_until(is_routing)
    except TimeoutError:
        raise ShadowFailed(
            f"the router {name} is not ready within {timeout_s:g} s",
            hint=f"kubectl describe deployment/{name} says more; --timeout waits longer",
        ) from None


async def close_router(api: Api, namespace: str, name: str, timeout_s: float) -> bool:
    """Nobody is led there any more: let its pods send their clients away, then remove all of it.

    Whether it is known to be gone. The origin's Service stays until the pods have gone: what they
    have begun goes on.
    """
    try:
        async with asyncio.timeout(timeout_s + _BUSY_CLUSTER_S):
            with suppress(NotFound):
                await api.patch(
                    "deployments",
                    name,
                    {"spec": {"replicas": 0}},
                    kind="merge",
                    namespace=namespace,
                )
                await _wait_until(partial(_has_no_pods, api, namespace, name))
            await delete_router(api, namespace, name)
            await _wait_until(partial(_is_gone, api, namespace, name))
    except TimeoutError:
        log.warning("router %s was not gone in time", name)
        await delete_router(api, namespace, name)
        return False
    except KtnetError as error:
        log.warning("router %s could not be removed: %s; `ktnet clean` does", name, error)
        return False
    return True


async def delete_router(api: Api, namespace: str, name: str) -> None:
    """The Deployment; garbage collection takes the rest."""
    with suppress(NotFound, Conflict):
        await api.delete("deployments", name, namespace=namespace)


async def _has_no_pods(api: Api, namespace: str, name: str) -> bool:
    listing = await api.list_all("pods", namespace=namespace, labels=build_selector(name))
    return not listing["items"]


async def _is_gone(api: Api, namespace: str, name: str) -> bool:
    for plural, each in (("deployments", name), ("services", f"{name}-origin")):
        try:
            await api.get(plural, each, namespace=namespace)
        except NotFound:
            continue
        return False
    return await _has_no_pods(api, namespace, name)


async def _wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await asyncio.sleep(_LOOK_INTERVAL_S)
