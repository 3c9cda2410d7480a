"""The cluster's side for the dashboard: sessions of all users, Services, who stands in front."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ktnet.cluster.fronts import build_service_views
from ktnet.cluster.labels import MANAGED
from ktnet.cluster.leftovers import list_taken
from ktnet.cluster.server.api import Api
from ktnet.cluster.sessions import build_views
from ktnet.errors import Forbidden
from ktnet.session.cluster import open_cluster
from ktnet.session.options import ClusterOptions

Json = dict[str, Any]


async def survey_cluster(options: ClusterOptions, *, everywhere: bool) -> Json:
    """As JSON: "context", "server", "namespace" (empty: all of them), "sessions", "services", and
    "warnings" for what may not be seen.

    Raises a KtnetError where the cluster can't be asked.
    """
    async with open_cluster(options) as cluster:
        namespace = None if everywhere else cluster.namespace
        warnings: list[str] = []
        leases = await _list(cluster.api, "leases", namespace, MANAGED, warnings)
        services = await _list(cluster.api, "services", namespace, None, warnings)
        pods = await _list(cluster.api, "pods", namespace, MANAGED, warnings)
        taken = await list_taken(cluster.api, namespace)
        views = build_views(leases, taken, cluster.api.now())
        return {
            "context": cluster.context,
            "server": cluster.api.target.server,
            "namespace": namespace or "",
            "sessions": [asdict(each) for each in views],
            "services": [asdict(v) for v in build_service_views(services, pods, views, taken)],
            "warnings": warnings,
        }


async def _list(
    api: Api,
    plural: str,
    namespace: str | None,
    labels: dict[str, str] | None,
    warnings: list[str],
) -> list[Json]:
    try:
        listing = await api.list_all(plural, namespace=namespace, labels=labels)
    except Forbidden as error:
        warnings.append(error.message)
        return []
    items: list[Json] = listing["items"]
    return items
