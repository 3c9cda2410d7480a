"""A shadow in the cluster: made, watched over while it is used, and gone when it is no more.

Job ──owns──> Lease (ours, renewed by the heartbeat) and other dependents
 └──owns──> pod ──log──> host key
             └── port 7022 <── connector()

A Job that is lost gets a successor, which takes its dependents over (`ShadowSession.revive`).
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ktnet.cluster.direct import open_direct
from ktnet.cluster.exchange.restoring import build_restoring_account
from ktnet.cluster.heartbeat import run_heartbeat
from ktnet.cluster.holding import find_holder
from ktnet.cluster.portforward import open_forward
from ktnet.cluster.removal import delete_session
from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.cluster.shadow.account import ACCOUNT_PLURALS
from ktnet.cluster.shadow.dependents import Dependent, Dependents, build_owner
from ktnet.cluster.shadow.hostkey import read_arming, read_host_key
from ktnet.cluster.shadow.manifests import (
    ShadowSpec,
    build_job,
    build_labels,
    build_lease,
    build_selector,
    find_grace_s,
)
from ktnet.cluster.shadow.podwatch import run_pod_watch
from ktnet.cluster.shadow.startup import wait_for_pod
from ktnet.cluster.shadow.verdict import (
    RunningPod,
    build_admission_error,
    find_end,
    is_job_lost,
    owner_uid_of,
    uid_of,
)
from ktnet.cluster.sideload.bundle import build_part, list_part_names
from ktnet.errors import ClusterUnreachable, Conflict, Forbidden, KtnetError, NotFound
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import SSH_PORT

__all__ = ["Connector", "RunningPod", "ShadowSession", "ShadowSpec", "open_shadow_session"]

Json = dict[str, Any]

Connector = Callable[
    [Callable[[], asyncio.BaseProtocol]],
    Awaitable[tuple[asyncio.Transport, asyncio.BaseProtocol]],
]
"""Dials the shadow's SSH server, like `loop.create_connection`."""

_LOOK_TIMEOUT_S = 5.0
"""For the API server to say what has become of the shadow: it may be reached over a connection
that is dead without our knowing, and the next attempt takes another."""

_REVIVAL_TIMEOUT_S = 15.0
"""For a pod to run, before what has become of it is looked at anew."""


@dataclass
class _Job:
    name: str
    uid: str = ""
    """Empty while it isn't known whether it was made."""
    is_deleted: bool = False
    is_suspended: bool = False
    """Its pod needs what the Job has to own, which is to be made first."""


class ShadowSession:
    """A shadow, and its successors: there is one at a time that is meant to run."""

    def __init__(self, api: Api, spec: ShadowSpec, name: str) -> None:
        self.spec = spec
        self.name = name
        self.pod = RunningPod("", "", "", "", "")
        self.host_key = ""
        """Of the container in `pod`: "ssh-ed25519 BASE64"."""
        self.is_gone = False
        """Whether nothing of it is left in the cluster; known when it has been closed."""
        self.is_kept = False
        """Whether it is not to be deleted: others' requests still go there."""
        self.account_refusal = ""
        """Why it has no account and can't put anything back, though it was to have one."""
        self.dependents = Dependents(api, spec.namespace)
        """What goes with it: a shadow that is made anew becomes their owner."""
        self._api = api
        self._jobs: list[_Job] = []
        self._is_settled = True
        self._is_prepared = False
        self._has_run = False
        self._is_in_touch = True

    async def create(self) -> None:
        """Have the first Job made. Raises what the API server says."""
        await self._create_job()
        await self._settle()

    async def prepare(self) -> None:
        """Make what the pod needs beside its image, and let the Job make it."""
        try:
            await self._make_account()
        except (Forbidden, NotFound, Refused) as error:
            await self._go_without_account(error)
        await self._bring_code()
        self._is_prepared = True
        await self._resume()

    async def _make_account(self) -> None:
        if self.spec.restoring is None:
            return
        labels = build_labels(self.name, self.spec.command)
        for plural, obj in build_restoring_account(
            self.name, self.spec.namespace, labels, self.spec.restoring
        ):
            await self.dependents.add(Dependent(plural, self.name, partial(deepcopy, obj)))

    async def _go_without_account(self, error: KtnetError) -> None:
        """A Job whose pod has none takes over, and never ends by itself: it is to stand where it
        stands until somebody puts things back. What there is of the account goes with the first.

        The dry run had passed: rights may have changed since, and not every admission webhook
        judges a dry run.
        """
        self.account_refusal = error.message
        self.spec = replace(self.spec, restoring=None, idle_s=0)
        self.dependents.leave(ACCOUNT_PLURALS)
        await self._create_job()
        await self._settle()

    async def _bring_code(self) -> None:
        sideload = self.spec.sideload
        if sideload is None or sideload.bundle is None:
            return
        names = list_part_names(self.name, sideload.bundle)
        for name, part in zip(names, sideload.bundle.parts, strict=True):
            build = partial(
                build_part,
                name,
                self.spec.namespace,
                build_labels(self.name, self.spec.command),
                part,
            )
            await self.dependents.add(Dependent("configmaps", name, build))

    async def _resume(self) -> None:
        job = self._jobs[-1]
        if job.is_suspended:
            resumed = {"spec": {"suspend": False}}
            await self._api.patch(
                "jobs", job.name, resumed, kind="merge", namespace=self.spec.namespace
            )
            job.is_suspended = False

    async def start(self, on_progress: Callable[[str], None], timeout_s: float) -> None:
        """Wait until its pod runs and shows its key. Raises ShadowFailed where it can't."""
        await self._wait_for_pod(on_progress, timeout_s, self._is_ours)
        await self.read_host_key()

    async def revive(self, on_progress: Callable[[str], None]) -> None:
        """Have a shadow that runs, and its key, whatever has become of the one that we know.

        A container that was restarted, or a pod that the Job has replaced, is waited for; a Job
        that is over, or has lost its pod, gets a successor, for its controller waits 10 s and
        more before it replaces one. May be called again where it failed: it goes on from there.
        """
        self._is_in_touch = False
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT_S):
                job, pods = await self._look()
        except TimeoutError:
            raise ClusterUnreachable("the API server does not answer") from None
        live = [pod for pod in pods if not find_end(pod)]
        if is_job_lost(job, pods, has_run=self._has_run):
            await self._create_job()
            live = []
        await self._settle()
        await self._resume()
        self._is_in_touch = True
        # Its other pods may have ended, which is no news.
        uids = {uid_of(pod) for pod in live}
        await self._wait_for_pod(
            on_progress,
            min(self.spec.timeout_s, _REVIVAL_TIMEOUT_S),
            (lambda pod: uid_of(pod) in uids) if uids else self._is_ours,
        )
        await self.read_host_key()

    async def renew_connections(self) -> None:
        """Reach the API server anew: the network may be another one, and what was open dead."""
        await self._api.renew_connections()

    async def run_watch(self, on_end: Callable[[str, str], None]) -> None:
        """Call `on_end` with (uid, why) for each of its pods that ends, until cancelled."""
        await run_pod_watch(self._api, self.spec.namespace, self.name, on_end)

    async def delete(self) -> None:
        """Have all of it gone; `is_gone` says whether that is known. Once more changes nothing."""
        if self.is_gone or self.is_kept:
            return
        self.is_gone = await delete_session(
            self._api,
            self.spec.namespace,
            self.name,
            [job.name for job in self._jobs],
            owned=self.dependents.names,
            grace_s=find_grace_s(self.spec),
            is_sure=self._is_in_touch and bool(self._jobs) and bool(self._jobs[-1].uid),
        )

    async def read_host_key(self) -> None:
        """Read the key (again): after a restart, the container and its key are others.

        Raises ShadowFailed where the pod is gone or does not show a key in time.
        """
        self.pod, self.host_key = await read_host_key(
            self._api, self.spec.namespace, self.pod, self.spec.timeout_s
        )

    async def read_arming(self) -> bool:
        """Whether the shadow says that it can put back by itself what is to be taken."""
        return self.spec.restoring is not None and await read_arming(
            self._api, self.spec.namespace, self.pod.name
        )

    def connector(self, streams: asyncio.TaskGroup) -> Connector:
        """What dials the shadow: through the API server, or straight to the pod's address.

        `streams` has to outlive whatever is dialled.
        """
        if self.spec.via == "direct":
            return partial(open_direct, self.pod.ip, SSH_PORT)
        return partial(self._dial, streams)

    async def _dial(
        self, streams: asyncio.TaskGroup, protocol_factory: Callable[[], asyncio.BaseProtocol]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        return await open_forward(
            self._api,
            self.spec.namespace,
            self.pod.name,
            SSH_PORT,
            protocol_factory,
            streams,
        )

    @property
    def _owner(self) -> Json:
        return build_owner(self._jobs[-1].name, self._jobs[-1].uid)

    def _is_ours(self, pod: Json) -> bool:
        """Whether it is a pod of the Job that is meant to run."""
        return owner_uid_of(pod) == self._jobs[-1].uid

    async def _look(self) -> tuple[Json | None, list[Json]]:
        """The Job, where it is there, and its pods."""
        try:
            job = await self._api.get("jobs", self._jobs[-1].name, namespace=self.spec.namespace)
        except NotFound:
            return None, []
        labels = build_selector(self.name)
        listing = await self._api.list_all("pods", namespace=self.spec.namespace, labels=labels)
        return job, [pod for pod in listing["items"] if self._is_ours(pod)]

    async def _create_job(self) -> None:
        """Make the Job, or the next one; once more where it isn't known whether it was made."""
        if not self._jobs or self._jobs[-1].uid:
            number = len(self._jobs) + 1
            # Noted before it is made: at the end it has to be deleted, whatever the answer.
            self._jobs.append(_Job(self.name if number == 1 else f"{self.name}-{number}"))
        job = self._jobs[-1]
        # A pod whose account isn't there is not admitted, and then the Job backs off; what else
        # its pod needs is found by all but the first.
        job.is_suspended = self.spec.restoring is not None or (
            self.spec.sideload is not None and not self._is_prepared
        )
        manifest = build_job(self.name, self.spec, job.name, is_suspended=job.is_suspended)
        try:
            with _admission():
                made = await self._api.create("jobs", manifest, namespace=self.spec.namespace)
        except Conflict:
            made = await self._api.get("jobs", job.name, namespace=self.spec.namespace)
        except ClusterUnreachable:
            raise
        except KtnetError:
            self._jobs.pop()
            raise
        job.uid = uid_of(made)
        self._is_settled = self._has_run = False

    async def _settle(self) -> None:
        """Give the Job what its predecessors owned, and remove those."""
        if self._is_settled:
            return
        await self.dependents.move(self._owner)
        for job in self._jobs[:-1]:
            if not job.is_deleted:
                with suppress(NotFound):
                    await self._api.delete(
                        "jobs", job.name, namespace=self.spec.namespace, propagation="Background"
                    )
                job.is_deleted = True
        self._is_settled = True

    async def _wait_for_pod(
        self,
        on_progress: Callable[[str], None],
        timeout_s: float,
        is_wanted: Callable[[Json], bool],
    ) -> None:
        self.pod = await wait_for_pod(
            self._api,
            self.spec.namespace,
            self._jobs[-1].uid,
            labels=build_selector(self.name),
            is_wanted=is_wanted,
            timeout_s=timeout_s,
            on_progress=on_progress,
        )
        self._has_run = True


@asynccontextmanager
async def open_shadow_session(
    api: Api, spec: ShadowSpec, on_progress: Callable[[str], None]
) -> AsyncIterator[ShadowSession]:
    """Create a shadow and wait until it takes connections; on the way out, delete it.

    Nothing is left behind either when this fails or is cancelled half way; where the API server
    is away at the end, the shadow goes by itself after `spec.idle_s`. `on_progress` gets the
    cluster's words for what it is waiting for. Raises ShadowFailed, Forbidden,
    ClusterUnreachable, NotFound (the namespace).
    """
    name = spec.session or _new_name(spec.command)
    spec = replace(spec, holder=find_holder())
    session = ShadowSession(api, spec, name)
    try:
        await session.create()
        with _admission():
            await session.dependents.add(_build_lease(api, spec, name))
            await session.prepare()
        await session.start(on_progress, spec.timeout_s)
        async with open_tasks() as tasks:
            remake = partial(session.dependents.remake, "leases", name)
            tasks.create_task(
                run_heartbeat(api, spec.namespace, name, remake=remake), name=f"heartbeat {name}"
            )
            yield session
    finally:
        await session.delete()


def _build_lease(api: Api, spec: ShadowSpec, name: str) -> Dependent:
    def build() -> Json:
        return build_lease(name, spec.namespace, spec.holder, api.now(), spec.command)

    return Dependent("leases", name, build)


@contextmanager
def _admission() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        # A quota, a webhook, or a field that this cluster doesn't take.
        raise build_admission_error(error.message) from error


def _new_name(command: str) -> str:
    alphabet = string.ascii_lowercase + string.digits
    return f"ktnet-{command}-" + "".join(secrets.choice(alphabet) for _ in range(5))
