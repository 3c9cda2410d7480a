"""Where everything comes from: the sessions' control sockets, /proc and the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ktnet.control import ask_session, list_sessions
from ktnet.dashboard.processes import Connection, ProcessNames
from ktnet.errors import ClusterUnreachable, KtnetError
from ktnet.session.leftovers import clean, recover
from ktnet.session.options import ClusterOptions
from ktnet.session.overview import survey_cluster

Json = dict[str, Any]

LIVE_TIME_S = 2.0
CLUSTER_TIME_S = 10.0

SHOWN_FLOWS = 200
SHOWN_QUERIES = 100
"""Of a session: what people can look through."""


class Source:
    """What of this machine and the cluster this user may see."""

    def __init__(self, options: ClusterOptions, *, everywhere: bool) -> None:
        self._options = options
        self._everywhere = everywhere
        self._processes = ProcessNames()

    async def read_sessions(self, after: Callable[[Json], int]) -> list[tuple[Json, Json]]:
        """Each session's status and what it tells live; `after(status)` is the last known event."""
        return await asyncio.to_thread(self._read_sessions, after)

    def _read_sessions(self, after: Callable[[Json], int]) -> list[tuple[Json, Json]]:
        return [(status, _ask_live(status, after(status))) for status in list_sessions()]

    async def name_processes(self, connections: list[Connection]) -> dict[Connection, str]:
        """Who of this user's processes has which connection."""
        if not connections:
            return {}
        return await asyncio.to_thread(self._processes.find, connections)

    async def read_cluster(self) -> Json:
        """See `survey_cluster`; raises a KtnetError."""
        try:
            async with asyncio.timeout(CLUSTER_TIME_S):
                return await survey_cluster(self._options, everywhere=self._everywhere)
        except TimeoutError as error:
            raise ClusterUnreachable(
                f"the API server took more than {CLUSTER_TIME_S:.0f} s"
            ) from error

    async def recover(self, namespace: str, name: str) -> list[str]:
        """What `ktnet recover NAME` says; raises a KtnetError."""
        told: list[str] = []
        await recover(self._for(namespace), name, force=False, tell=told.append)
        return told

    async def clean(self, namespace: str, *, all_users: bool) -> list[str]:
        """What `ktnet clean` says of the cluster; raises a KtnetError."""
        told: list[str] = []
        await clean(self._for(namespace), all_users=all_users, dry_run=False, tell=told.append)
        return told

    def _for(self, namespace: str) -> ClusterOptions:
        return ClusterOptions(namespace, self._options.context, self._options.kubeconfig)


def _ask_live(status: Json, after: int) -> Json:
    """A session of another version, or one that doesn't answer, tells nothing."""
    if status.get("state") == "not answering":
        return {}
    request = {"do": "live", "flows": SHOWN_FLOWS, "queries": SHOWN_QUERIES, "after": after}
    try:
        return ask_session(status, request, timeout_s=LIVE_TIME_S)
    except KtnetError:
        return {}
