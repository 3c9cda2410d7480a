"""01-discovery: what is served, in both forms of discovery; health.

The recordings are trimmed to some groups and resources, and the lab serves fewer than a real
cluster: of what both know, each entry must be the same.
"""

from __future__ import annotations

import re
from typing import Any

from comparing import compare
from replaying import Folder, Lab
from scene import build_cluster
from verdicts import judge

FOLDER = "01-discovery"
MATCHED_AT_LEAST = 15
LISTED: dict[str, str] = {}

KEYS = ("groupVersion", "name", "resource", "subresource", "version")
"""By one of these the entries of a list are known."""

OF_THE_PROGRAM = frozenset(
    {
        *("storageVersionHash", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler"),
        "serverAddress",
    }
)
"""What says which program it is and where it listens, not what it does."""


async def replay(folder: Folder) -> None:
    async with folder.open_lab(build_cluster(folder)) as lab:
        for name in sorted(folder.cases):
            if name != "aggregated_apis_not_modified":
                await replay_known(lab, name)


async def replay_known(lab: Lab, name: str) -> None:
    case = lab.folder.cases[name]
    status, headers, answer = await lab.send(case)
    recorded, found = keep_known(case.answer, answer)
    differences = compare(recorded, found, lab.bindings)
    wanted = case.answer_headers("Content-Type")
    if headers.getall("Content-Type", []) != wanted:
        differences.append(f"Content-Type {headers.getall('Content-Type', [])}, not {wanted}")
    lab.folder.record(name, judge(status, answer, case.status, differences))
    if name == "aggregated_apis":
        again = {**case.headers, "If-None-Match": headers["Etag"]}
        await replay_not_modified(lab, again)


async def replay_not_modified(lab: Lab, headers: dict[str, str]) -> None:
    case = lab.folder.cases["aggregated_apis_not_modified"]
    fresh = type(case)(
        case.folder,
        case.name,
        {**case.document, "request": {**case.document["request"], "headers": headers}},
    )
    status, _, answer = await lab.send(fresh)
    lab.folder.record(case.name, judge(status, answer, case.status, []))


def keep_known(recorded: Any, found: Any) -> tuple[Any, Any]:
    """Both without the entries of lists that only one has."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        both = {
            key: keep_known(recorded[key], found[key])
            for key in recorded.keys() & found.keys() - OF_THE_PROGRAM
        }
        only_recorded = {k: v for k, v in recorded.items() if k not in found}
        only_found = {k: v for k, v in found.items() if k not in recorded}
        for only in (only_recorded, only_found):
            for key in OF_THE_PROGRAM & only.keys():
                del only[key]
        return (
            {**only_recorded, **{key: pair[0] for key, pair in both.items()}},
            {**only_found, **{key: pair[1] for key, pair in both.items()}},
        )
    if isinstance(recorded, list) and isinstance(found, list):
        known = {_key(each): each for each in found}
        pairs = [keep_known(r, known[_key(r)]) for r in recorded if _key(r) in known]
        # Nothing in common is no agreement.
        assert pairs or not recorded, (recorded, found)
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if isinstance(recorded, str) and recorded.startswith("[+]"):
        # The checks are the server's own; the last line says that all are passed.
        return re.sub(r"\[\+\].* ok\n", "", recorded), re.sub(r"\[\+\].* ok\n", "", str(found))
    return recorded, found


def _key(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    named = {**(entry.get("metadata") or {}), **entry}
    return next((named[key] for key in KEYS if key in named), "")
