"""Waiting until the cluster takes something for ready."""

from __future__ import annotations

import asyncio
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.errors import ShadowFailed

Json = dict[str, Any]

_LOOK_INTERVAL_S = 0.2


async def wait_until_ready(api: Api, namespace: str, pod: str, timeout_s: float) -> None:
    """Until the pod is Ready, and so among its Services' endpoints. ShadowFailed: it isn't."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if is_ready(await api.get("pods", pod, namespace=namespace)):
                    return
                await asyncio.sleep(_LOOK_INTERVAL_S)
    except TimeoutError:
        raise ShadowFailed(
            f"the cluster doesn't take {pod} for ready within {timeout_s:g} s",
            hint="may a node reach the pod's health port? a NetworkPolicy may be in the way",
        ) from None


def is_ready(pod: Json) -> bool:
    """Whether its condition Ready is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


async def wait_until_available(
    api: Api, namespace: str, plural: str, name: str, replicas: int, timeout_s: float
) -> bool:
    """Until so many pods of a Deployment or StatefulSet are ready; False: not in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                workload = await api.get(plural, name, namespace=namespace)
                if is_available(workload, replicas):
                    return True
                await asyncio.sleep(_LOOK_INTERVAL_S)
    except TimeoutError:
        return False


def is_available(workload: Json, replicas: int) -> bool:
    """Whether its controller has seen its newest state, and so many of its pods are ready."""
    status = workload.get("status") or {}
    generation = workload["metadata"].get("generation", 0)
    return bool(
        status.get("observedGeneration", 0) >= generation
        and (status.get("readyReplicas") or 0) >= replicas
    )
