"""What was in the recorded cluster before anything was recorded."""

from __future__ import annotations

import json

from replaying import Folder, Lab, settle_object

from ktnet.lab.api.resources import RESOURCES
from ktnet.lab.api.store import Store

NAMESPACES = ("transcripts", "demo")


def build_cluster(folder: Folder, *namespaces: str) -> Store:
    """A store with the namespaces of the recordings, and all that controllers put into them."""
    store = Store()
    for name in namespaces or NAMESPACES:
        add_namespace(store, folder.renamer.name(name))
    return store


def add_namespace(store: Store, name: str) -> None:
    store.create("namespaces", None, {"metadata": {"name": name}})
    store.create("serviceaccounts", name, {"metadata": {"name": "default"}})
    ca = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "-"}}
    store.create("configmaps", name, ca)


def add_recorded(
    lab: Lab,
    case: str,
    *,
    name: str = "",
    replicas: int | None = None,
    generation: int | None = None,
    without_labels: tuple[str, ...] = (),
) -> None:
    """Puts what a recorded answer shows into the store, as it was before that request.

    `name` is another object's recorded name, `replicas` and `generation` what it had before;
    `without_labels` are those that the request was to add.
    """
    answer = lab.folder.cases[case].answer
    kind = answer["kind"].removesuffix("List")
    items = answer.get("items", [answer])
    if kind == "Table":
        items = [row["object"] for row in answer["rows"]]
        kind = items[0]["kind"]
    for item in items:
        text = json.dumps({"kind": kind, **item})
        shown = json.loads(text.replace(item["metadata"]["name"], name) if name else text)
        add_shown(
            lab, shown, replicas=replicas, generation=generation, without_labels=without_labels
        )


def add_shown(
    lab: Lab,
    recorded: dict,
    *,
    replicas: int | None = None,
    generation: int | None = None,
    without_labels: tuple[str, ...] = (),
) -> None:
    """Puts one recorded object into the store."""
    shown = lab.given(recorded)
    meta = {k: v for k, v in shown["metadata"].items() if k not in OWNED_BY_SERVER}
    labels = meta.get("labels") or {}
    meta["labels"] = {k: v for k, v in labels.items() if k not in without_labels}
    obj = {**shown, "metadata": meta}
    if replicas is not None:
        obj["spec"] = {**obj["spec"], "replicas": replicas}
    status = obj.pop("status", None)
    node = (obj.get("spec") or {}).pop("nodeName", None)
    plural = next(r.plural for r in RESOURCES if r.kind == shown["kind"])
    lab.store.create(plural, meta.get("namespace"), obj)
    if status is not None:
        settled = {**shown, "status": status}
        if node:
            settled["spec"] = {**settled["spec"], "nodeName": node}
        settle_object(lab, settled)
    wanted = generation or shown["metadata"].get("generation")
    if wanted:
        set_generation(lab, plural, meta, wanted)


def set_generation(lab: Lab, plural: str, meta: dict, generation: int) -> None:
    """As if the object had been changed that often: of its past only this is left."""
    obj = lab.store.get(plural, meta.get("namespace"), meta["name"])
    older = {**obj, "metadata": {**obj["metadata"], "generation": generation}}
    lab.store._write(plural, older, obj)


OWNED_BY_SERVER = frozenset(
    {
        *("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "managedFields"),
        *("deletionGracePeriodSeconds", "finalizers", "generation"),
    }
)
