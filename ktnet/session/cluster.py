"""The cluster that the user means, before anything is asked of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ktnet.cluster.config import PLUGIN_TIMEOUT_S, load_target
from ktnet.cluster.server.api import Api, open_api
from ktnet.session.options import ClusterOptions


@dataclass(frozen=True)
class Cluster:
    """An API server, who we are there, and the namespace that is meant."""

    api: Api
    namespace: str

    @property
    def context(self) -> str:
        """The kubeconfig's word for it."""
        return self.api.target.context

    def describe(self) -> str:
        """In one line, for the step that shows it to be there."""
        return f"{self.api.target.server}, namespace {self.namespace}"


@asynccontextmanager
async def open_cluster(
    options: ClusterOptions, timeout_s: float = PLUGIN_TIMEOUT_S
) -> AsyncIterator[Cluster]:
    """Read the configuration; nothing is sent before the first request. An exec plugin that nobody
    talks with has `timeout_s` at most.

    Raises UsageError where the configuration is missing or wrong.
    """
    target = load_target(
        options.kubeconfig,
        options.context,
        plugin_timeout_s=min(PLUGIN_TIMEOUT_S, timeout_s),
    )
    async with open_api(target) as api:
        yield Cluster(api, options.namespace or target.namespace)
