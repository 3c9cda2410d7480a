"""Names of the cluster's objects, completed live."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

PATIENCE_S = 2.0
"""Somebody has pressed Tab: later is worse than nothing."""

_PREFIXES = {"deployments": "deployment/", "statefulsets": "statefulset/", "services": "service/"}


def complete_workloads(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Deployments, StatefulSets and Services of the namespace, bare and with their kind."""
    import asyncio
    import logging

    from ktnet.errors import KtnetError
    from ktnet.session.cluster import open_cluster
    from ktnet.session.options import ClusterOptions

    options = ClusterOptions(
        **{key: ctx.params.get(key) for key in ("namespace", "context", "kubeconfig")}
    )

    async def ask() -> list[tuple[str, str]]:
        found = []
        async with asyncio.timeout(PATIENCE_S), open_cluster(options, PATIENCE_S) as cluster:
            for plural in _PREFIXES:
                listing = await cluster.api.list_all(plural, namespace=cluster.namespace)
                found += [(plural, str(each["metadata"]["name"])) for each in listing["items"]]
        return found

    logging.disable(logging.CRITICAL)  # a terminal in the middle of a line
    try:
        names = asyncio.run(ask())
    except (KtnetError, TimeoutError, OSError):
        return []
    words = dict.fromkeys(name for _, name in names)
    words |= dict.fromkeys(_PREFIXES[plural] + name for plural, name in names if "/" in incomplete)
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
