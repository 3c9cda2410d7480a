"""Waiting for the shadow to run, or for the reason why it can't."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.cluster.server.informer import run_informer, version_of
from ktnet.cluster.shadow.verdict import RunningPod, Waiting, judge_event, judge_pod
from ktnet.errors import Forbidden, ShadowFailed
from ktnet.tasks import open_tasks

Json = dict[str, Any]


async def wait_for_pod(
    api: Api,
    namespace: str,
    job_uid: str,
    *,
    labels: dict[str, str],
    is_wanted: Callable[[Json], bool],
    timeout_s: float,
    on_progress: Callable[[str], None],
) -> RunningPod:
    """The session's pod as soon as its container runs: of those with the labels, a wanted one.

    `on_progress` gets the kubelet's word for each state on the way. Raises ShadowFailed with the
    cause as soon as the cluster has said it, and when the time is over.
    """
    pods = _PodMirror(is_wanted, on_progress)
    try:
        async with asyncio.timeout(timeout_s), open_tasks() as tasks:
            tasks.create_task(_watch_events(api, namespace, job_uid, on_progress))
            listing = await api.list_all("pods", namespace=namespace, labels=labels)
            pods.replace(listing["items"])
            version = version_of(listing)
            tasks.create_task(
                run_informer(api, "pods", version, pods, namespace=namespace, labels=labels)
            )
            return await pods.running
    except TimeoutError:
        raise ShadowFailed(
            f"the shadow pod did not run within {timeout_s:g} s: {pods.last}",
            hint="--timeout waits longer; `kubectl describe job,pod` may know more",
        ) from None


async def _watch_events(
    api: Api, namespace: str, job_uid: str, on_progress: Callable[[str], None]
) -> None:
    """What the Job controller complains of; the right to see Events is welcome, not needed."""
    fields = {"involvedObject.uid": job_uid}
    try:
        listing = await api.list_all("events", namespace=namespace, fields=fields)
        events = _EventMirror()
        events.replace(listing["items"])
        version = version_of(listing)
        await run_informer(api, "events", version, events, namespace=namespace, fields=fields)
    except Forbidden:
        on_progress(
            f"no right to list events in namespace {namespace}: if the cluster does not admit the "
            "shadow, the reason is not shown"
        )


class _PodMirror:
    def __init__(
        self, is_wanted: Callable[[Json], bool], on_progress: Callable[[str], None]
    ) -> None:
        self._is_wanted = is_wanted
        self.running: asyncio.Future[RunningPod] = asyncio.get_running_loop().create_future()
        self.last = "no pod was made"
        self._on_progress = on_progress

    def replace(self, objects: list[Json]) -> None:
        for pod in objects:
            self.change("ADDED", pod)

    def change(self, kind: str, obj: Json) -> None:
        if kind == "DELETED" or self.running.done() or not self._is_wanted(obj):
            return
        match judge_pod(obj):
            case RunningPod() as pod:
                self.running.set_result(pod)
            case Waiting(reason) if reason != self.last:
                self.last = reason
                self._on_progress(reason)


class _EventMirror:
    def replace(self, objects: list[Json]) -> None:
        for event in objects:
            judge_event(event)

    def change(self, kind: str, obj: Json) -> None:
        if kind != "DELETED":
            judge_event(obj)
