"""All that `--sideload` takes, before anything is created."""

from __future__ import annotations

from dataclasses import replace

from ktnet.cluster.server.api import Api
from ktnet.cluster.shadow.manifests import ShadowSpec, Sideload
from ktnet.cluster.sideload.bundle import build_bundle
from ktnet.cluster.sideload.platforms import ARCH_LABEL, find_platform
from ktnet.cluster.sideload.wheels import fetch_wheels


async def pack_sideload(api: Api, spec: ShadowSpec, sideload: Sideload) -> ShadowSpec:
    """The same shadow with its code packed, bound to the nodes that the wheels are for.

    Raises ShadowFailed where there are no such wheels, or they aren't those of the lock.
    """
    selector = dict(spec.node_selector)
    platform = await find_platform(api, spec.image, selector)
    bundle = build_bundle(await fetch_wheels(platform, sideload.wheels), platform.soabi)
    return replace(
        spec,
        sideload=replace(sideload, bundle=bundle),
        node_selector=tuple({**selector, ARCH_LABEL: platform.arch}.items()),
    )
