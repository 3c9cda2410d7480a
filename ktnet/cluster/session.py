"""A shadow in the cluster: made, watched over while it is used, and gone when it is no more.

Job ──owns──> Lease (ours, renewed by the heartbeat)
 └──owns──> pod ──log──> host key
             └── port 7022 <── connector()
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import secrets
import socket
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from ktnet.cluster.answers import Refused
from ktnet.cluster.api import Api
from ktnet.cluster.direct import open_direct
from ktnet.cluster.heartbeat import run_heartbeat
from ktnet.cluster.hostkey import read_host_key
from ktnet.cluster.manifests import ShadowSpec, build_job, build_labels, build_lease
from ktnet.cluster.portforward import open_forward
from ktnet.cluster.startup import wait_for_pod
from ktnet.cluster.verdict import RunningPod
from ktnet.errors import ClusterUnreachable, KtnetError, NotFound, ShadowFailed
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import SSH_PORT

__all__ = ["Connector", "RunningPod", "ShadowSession", "ShadowSpec", "open_shadow_session"]

log = logging.getLogger(__name__)

Connector = Callable[
    [Callable[[], asyncio.BaseProtocol]],
    Awaitable[tuple[asyncio.Transport, asyncio.BaseProtocol]],
]
"""Dials the shadow's SSH server, like `loop.create_connection`."""

_DELETE_TIMEOUT_S = 10
"""For Job, Lease and pod to be gone: the pod's grace, and some more for a busy cluster."""

_UNSURE_TIMEOUT_S = 3
"""The same where there may be nothing to delete: somebody waits for the error."""

_LATE_CREATE_S = 1.0
"""How long a create whose answer we did not wait for may still take effect."""


class ShadowSession:
    """A running shadow."""

    def __init__(
        self, api: Api, spec: ShadowSpec, name: str, pod: RunningPod, tasks: asyncio.TaskGroup
    ) -> None:
        self.spec = spec
        self.name = name
        self.pod = pod
        self.host_key = ""
        """Of the container in `pod`: "ssh-ed25519 BASE64"."""
        self.is_gone = False
        """Whether nothing of it is left in the cluster; known when it has been closed."""
        self._api = api
        self._tasks = tasks

    async def read_host_key(self) -> str:
        """Read the key (again): after a restart, the container and its key are others.

        Raises ShadowFailed where the pod is gone or does not show a key in time.
        """
        self.pod, self.host_key = await read_host_key(
            self._api, self.spec.namespace, self.pod, self.spec.timeout_s
        )
        return self.host_key

    def connector(self) -> Connector:
        """What dials the shadow: through the API server, or straight to the pod's address."""
        if self.spec.via == "direct":
            return partial(open_direct, self.pod.ip, SSH_PORT)
        return partial(self._dial)

    async def _dial(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        return await open_forward(
            self._api,
            self.spec.namespace,
            self.pod.name,
            SSH_PORT,
            protocol_factory,
            self._tasks,
        )


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
    name = _new_name()
    try:
        job_uid = await _create_job(api, spec, name)
    except (asyncio.CancelledError, ClusterUnreachable):
        # No answer: it may have been created, or yet be.
        await _delete_all(api, spec.namespace, name, surely_created=False)
        raise
    session: ShadowSession | None = None
    try:
        await _create_lease(api, spec, name, job_uid)
        pod = await wait_for_pod(
            api,
            spec.namespace,
            job_uid,
            labels=build_labels(name),
            timeout_s=spec.timeout_s,
            on_progress=on_progress,
        )
        async with open_tasks() as tasks:
            tasks.create_task(run_heartbeat(api, spec.namespace, name), name=f"heartbeat {name}")
            session = ShadowSession(api, spec, name, pod, tasks)
            await session.read_host_key()
            yield session
    finally:
        gone = await _delete_all(api, spec.namespace, name, surely_created=True)
        if session is not None:
            session.is_gone = gone


async def _create_job(api: Api, spec: ShadowSpec, name: str) -> str:
    """The uid of the Job."""
    with _admission():
        job = await api.create("jobs", build_job(name, spec), namespace=spec.namespace)
    return str((job.get("metadata") or {}).get("uid") or "")


async def _create_lease(api: Api, spec: ShadowSpec, name: str, job_uid: str) -> None:
    lease = build_lease(name, spec.namespace, _holder(), job_uid, api.now())
    with _admission():
        await api.create("leases", lease, namespace=spec.namespace)


@contextmanager
def _admission() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        # A quota, a webhook, or a field that this cluster doesn't take.
        raise ShadowFailed(f"the cluster refuses the shadow: {error.message}") from error


async def _delete_all(api: Api, namespace: str, name: str, *, surely_created: bool) -> bool:
    """Delete the Job and wait until it and what it owns are gone; whether they are.

    Whatever stands in the way is only logged: the error that led here matters more, and the
    shadow ends by itself.
    """
    try:
        async with asyncio.timeout(_DELETE_TIMEOUT_S if surely_created else _UNSURE_TIMEOUT_S):
            if await _delete_job(api, namespace, name, surely_created=surely_created):
                await _wait_until_gone(api, namespace, name)
    except TimeoutError:
        log.warning("session %s was not gone in time; what is left of it ends by itself", name)
    except KtnetError as error:
        log.warning("session %s could not be deleted: %s; it ends by itself", name, error)
    else:
        return True
    return False


async def _delete_job(api: Api, namespace: str, name: str, *, surely_created: bool) -> bool:
    """Whether there was a Job to delete."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + (0 if surely_created else _LATE_CREATE_S)
    while True:
        try:
            await api.delete("jobs", name, namespace=namespace, propagation="Background")
        except NotFound:
            if loop.time() >= give_up_at:
                return surely_created
            await asyncio.sleep(0.2)
        else:
            return True


async def _wait_until_gone(api: Api, namespace: str, name: str) -> None:
    delay_s = 0.03
    while await _is_any_left(api, namespace, name):
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, 0.5)


async def _is_any_left(api: Api, namespace: str, name: str) -> bool:
    for plural in ("jobs", "leases"):
        try:
            await api.get(plural, name, namespace=namespace)
        except NotFound:
            continue
        return True
    labels = {"ktnet.dev/session": name}
    return bool((await api.list_all("pods", namespace=namespace, labels=labels))["items"])


def _new_name() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "ktnet-connect-" + "".join(secrets.choice(alphabet) for _ in range(5))


def _holder() -> str:
    """Who we are, for people who look at the Lease."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A uid without a name, as in containers.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
