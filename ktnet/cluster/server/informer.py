"""Keeps up with a collection: what was listed, then every change, whatever happens to the stream.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from ktnet.cluster.server.answers import Expired, Refused
from ktnet.cluster.server.api import Api
from ktnet.errors import ClusterUnreachable
from ktnet.tasks import open_tasks

log = logging.getLogger(__name__)

Json = dict[str, Any]

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.25, 10.0
"""Between attempts while the API server is away; doubled each time."""


class _Renewed(Exception):
    """The watch's connection may be dead."""


class Mirror(Protocol):
    """What is told of the collection."""

    def replace(self, objects: list[Json]) -> None:
        """All that there is now."""

    def change(self, kind: str, obj: Json) -> None:
        """One object was ADDED, MODIFIED or DELETED (then it is its last state)."""


async def run_informer(
    api: Api,
    plural: str,
    version: str,
    mirror: Mirror,
    *,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Tell `mirror` what happens after the list of that resourceVersion, until cancelled.

    An API server that is away or in trouble is waited for; a missing right is raised, and
    whatever the mirror raises.
    """
    delay_s = _FIRST_DELAY_S
    while True:
        try:
            if not version:
                listing = await api.list_all(
                    plural, namespace=namespace, labels=labels, fields=fields
                )
                mirror.replace(listing["items"])
                version = version_of(listing)
            async with (
                open_tasks() as tasks,
                api.open_watch(
                    plural,
                    namespace=namespace,
                    labels=labels,
                    fields=fields,
                    resource_version=version,
                ) as events,
            ):
                tasks.create_task(_leave_when_renewed(api))
                async for kind, obj in events:
                    version = version_of(obj) or version
                    delay_s = _FIRST_DELAY_S
                    if kind != "BOOKMARK":
                        mirror.change(kind, obj)
        except _Renewed:
            delay_s = _FIRST_DELAY_S
            continue
        except Expired:
            version = ""
        except (ClusterUnreachable, Refused) as error:
            log.debug("watch of %s: %s; again in %.1f s", plural, error, delay_s)
        # Also after an orderly end: a server that ends watches at once must not be hammered.
        await asyncio.sleep(delay_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        delay_s = min(2 * delay_s, _LONGEST_DELAY_S)


async def _leave_when_renewed(api: Api) -> NoReturn:
    await api.wait_renewed()
    raise _Renewed


def version_of(obj: Json) -> str:
    """The resourceVersion of an object or a list; empty where it has none."""
    metadata = obj.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""
