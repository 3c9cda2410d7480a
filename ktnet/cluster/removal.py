"""Removing a session's objects: its Jobs, and by garbage collection all that they own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.errors import KtnetError, NotFound
from ktnet.wire.meshrecord import SESSION_LABEL

log = logging.getLogger(__name__)

_BUSY_CLUSTER_S = 5
"""What a cluster may take beyond the pod's grace until Job, Lease and pod are gone."""

_UNSURE_TIMEOUT_S = 3
"""The same where there may be nothing to delete, or nobody to ask: somebody waits for the end."""

_LATE_CREATE_S = 1.0
"""How long a create whose answer we did not wait for may still take effect."""


async def delete_session(
    api: Api,
    namespace: str,
    session: str,
    jobs: Iterable[str],
    *,
    owned: Iterable[tuple[str, str]],
    grace_s: float,
    is_sure: bool,
) -> bool:
    """Delete the Jobs and wait until they and what they own are gone; whether they are.

    `owned` are those of the session's objects that the Jobs are known to own, as (plural, name).
    `grace_s` is what the pod has to end. `is_sure` says that the Jobs were made and that the API
    server has answered of late. Whatever stands in the way is only logged: the error that led here
    matters more, and the shadow ends by itself.
    """
    try:
        async with asyncio.timeout(grace_s + _BUSY_CLUSTER_S if is_sure else _UNSURE_TIMEOUT_S):
            deleted = [await _delete_job(api, namespace, job, is_sure=is_sure) for job in jobs]
            if any(deleted):
                left = dict.fromkeys(
                    [*(("jobs", job) for job in jobs), ("leases", session), *owned]
                )
                await _wait_until_gone(api, namespace, session, left)
    except TimeoutError:
        log.warning("session %s was not gone in time; what is left of it ends by itself", session)
    except KtnetError as error:
        log.warning("session %s could not be deleted: %s; it ends by itself", session, error)
    else:
        return True
    return False


async def _delete_job(api: Api, namespace: str, job: str, *, is_sure: bool) -> bool:
    """Whether there was a Job to delete."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + (0 if is_sure else _LATE_CREATE_S)
    while True:
        try:
            await api.delete("jobs", job, namespace=namespace, propagation="Background")
        except NotFound:
            if loop.time() >= give_up_at:
                return is_sure
            await asyncio.sleep(0.2)
        else:
            return True


async def _wait_until_gone(
    api: Api, namespace: str, session: str, objects: Iterable[tuple[str, str]]
) -> None:
    left = list(objects)
    delay_s = 0.03
    while True:
        # What is gone isn't asked for again: the pod may take half a minute longer.
        while left and await _is_gone(api, namespace, *left[0]):
            del left[0]
        if not left and not await _list_pods(api, namespace, session):
            return
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, 0.5)


async def _is_gone(api: Api, namespace: str, plural: str, name: str) -> bool:
    try:
        await api.get(plural, name, namespace=namespace)
    except NotFound:
        return True
    return False


async def _list_pods(api: Api, namespace: str, session: str) -> list[Any]:
    labels = {SESSION_LABEL: session}
    return list((await api.list_all("pods", namespace=namespace, labels=labels))["items"])
