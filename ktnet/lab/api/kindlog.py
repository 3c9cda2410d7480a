"""Which kinds of requests were made, each once, in a file that outlives the lab.

A test run names a directory by the environment variable below; all labs that it starts write there,
and at its end each kind that the product's requests have is held against the recordings.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ktnet.lab.api.target import Target

DIRECTORY = "KTNET_LAB_REQUEST_KINDS"


def list_parameters(query: Iterable[tuple[str, str]]) -> list[str]:
    """The names of a query's parameters; of a fieldSelector with the fields that it selects by."""
    names = set()
    for key, value in query:
        if key == "fieldSelector":
            names |= {f"{key}={re.split('[=!]', term)[0]}" for term in value.split(",")}
        else:
            names.add(key)
    return sorted(names)


class KindLog:
    """Writes nothing where nobody asked for it."""

    def __init__(self) -> None:
        directory = os.environ.get(DIRECTORY)
        self._path = Path(directory, f"{os.getpid()}.jsonl") if directory else None
        self._known: set[str] = set()

    def add(
        self,
        target: Target,
        query: Iterable[tuple[str, str]],
        content_type: str,
        user_agent: str,
    ) -> None:
        if self._path is None:
            return
        line = json.dumps(
            {
                "verb": target.verb,
                "group": target.group,
                "resource": target.resource,
                "subresource": target.subresource,
                "path": "" if target.resource else target.path,
                "content_type": content_type.partition(";")[0],
                "query": list_parameters(query),
                "agent": user_agent.partition("/")[0],
            }
        )
        if line not in self._known:
            self._known.add(line)
            with self._path.open("a") as log:
                log.write(line + "\n")
