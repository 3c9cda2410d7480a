"""The Lease's renewals: what tells others that somebody is there."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from ktnet.cluster.server.api import Api
from ktnet.cluster.shadow.manifests import LEASE_DURATION_S, build_renewal
from ktnet.errors import KtnetError, NotFound

log = logging.getLogger(__name__)

_PERIOD_S = LEASE_DURATION_S / 4
"""Three renewals in a row may fail before anybody takes the holder for gone."""


async def run_heartbeat(
    api: Api,
    namespace: str,
    lease: str,
    duration_s: int = LEASE_DURATION_S,
    remake: Callable[[], Awaitable[None]] | None = None,
    on_renewed: Callable[[], None] = lambda: None,
) -> None:
    """Renew the Lease, which runs out after `duration_s`, until cancelled.

    What fails is tried again at the next beat: the tunnel may well outlive an API server that is
    away. `remake` makes the Lease anew where somebody has deleted it: without, we'd be taken for
    dead. `on_renewed` is told of each beat that was heard.
    """
    while True:
        # Spread, so that many clients that came with one outage don't beat as one.
        await asyncio.sleep(_PERIOD_S * duration_s / LEASE_DURATION_S * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
        try:
            try:
                await api.patch(
                    "leases", lease, build_renewal(api.now()), kind="merge", namespace=namespace
                )
            except NotFound:
                if remake is None:
                    raise
                await remake()
        except KtnetError as error:
            log.info("Lease %s was not renewed: %s", lease, error)
        else:
            on_renewed()
