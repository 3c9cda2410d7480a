"""02-crud: create, get, list, update, patch, delete; errors, pages, subresources, Tables."""

from __future__ import annotations

from crud_scenes import SCENES
from replaying import Folder, Lab
from scene import build_cluster
from table_scenes import each_kind

FOLDER = "02-crud"
MATCHED_AT_LEAST = 309
LISTED: dict[str, str] = {}

KINDS = (*("configmap", "secret", "pod", "service", "deployment", "job", "lease", "namespace"),)
STEPS = (
    *("create-dry-run", "create", "create-duplicate", "create-invalid"),
    *("create-no-apiversion-kind", "get", "list-labelselector", "list-fieldselector"),
    *("patch-merge", "patch-merge-stale", "patch-json", "patch-json-test-fails"),
    *("patch-strategic", "update", "update-stale", "update-no-resourceversion", "update-missing"),
    *("delete-dry-run", "delete-precondition-uid", "delete-precondition-rv", "delete"),
    *("delete-again", "get-missing"),
)
"""What was recorded of each kind, in that order."""


async def replay(folder: Folder) -> None:
    for kind in KINDS:
        async with folder.open_lab(build_cluster(folder)) as lab:
            await replay_life(lab, kind)
    for scene in SCENES:
        async with folder.open_lab(build_cluster(folder)) as lab:
            await scene(lab)
    await each_kind(folder, build_cluster)


async def replay_life(lab: Lab, kind: str) -> None:
    """One object's life from its creation to its end."""
    for step in STEPS:
        name = f"{kind}-{step}"
        if name in lab.folder.cases:
            if step == "get-missing":
                end(lab, f"{kind}-delete")
            lab.settle(name)
            await lab.replay(name)


def end(lab: Lab, name: str) -> None:
    """What ends slowly has ended: the kubelet and the namespace controller have done their part."""
    found = lab.find(lab.given(lab.folder.cases[name].answer))
    if found is None:
        return
    plural, obj = found
    meta = obj["metadata"]
    place = (plural, meta.get("namespace"), meta["name"])
    if plural == "namespaces":
        lab.store.update(*place, {**obj, "spec": {}}, subresource="finalize")
    elif meta.get("finalizers"):
        lab.store.patch(*place, {"metadata": {"finalizers": None}})
    else:
        lab.store.delete(*place, grace_s=0)
