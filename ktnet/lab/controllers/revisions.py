"""A StatefulSet's ControllerRevisions: one for each template that it had. Pure.

As pkg/controller/history and pkg/controller/statefulset/stateful_set_utils.go make them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from ktnet.lab.controllers.action import Action, Create, build_delete, build_merge
from ktnet.lab.controllers.kind import Obj, build_controller_reference, labels_of
from ktnet.lab.controllers.rollout import hash_template

HASH_LABEL = "controller.kubernetes.io/hash"
POD_LABEL = "controller-revision-hash"
"""The label of a pod that names the revision which it was made from."""


@dataclass(frozen=True)
class Revisions:
    """The revision that most pods have, the one that all are to have, and how to get them."""

    current: Obj
    update: Obj
    actions: list[Action] = field(default_factory=list)


def plan_revisions(owner: Obj, known: list[Obj]) -> Revisions:
    """`known` are the revisions that the owner controls."""
    known = sorted(known, key=lambda each: int(each["revision"]))
    update = build_revision(owner, known[-1]["revision"] + 1 if known else 1)
    actions: list[Action] = []
    same = next((each for each in known if each["data"] == update["data"]), None)
    if same is None:
        actions.append(Create("controllerrevisions", owner["metadata"]["namespace"], update))
    elif same is known[-1]:
        update = same
    else:
        # Back to a template that there was before: its revision becomes the newest.
        patch = {"revision": update["revision"]}
        actions.append(build_merge("controllerrevisions", same, patch))
        update = {**same, **patch}
    name = (owner.get("status") or {}).get("currentRevision")
    current = next((each for each in known if each["metadata"]["name"] == name), update)
    return Revisions(current, update, actions)


def build_revision(owner: Obj, number: int) -> Obj:
    """The revision of the owner's present template."""
    meta, template = owner["metadata"], owner["spec"]["template"]
    digest = hash_template(template)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": {**labels_of(template), HASH_LABEL: digest},
            "ownerReferences": [build_controller_reference(owner)],
        },
        # A strategic merge patch that puts the template back.
        "data": {"spec": {"template": {"$patch": "replace", **copy.deepcopy(template)}}},
        "revision": number,
    }


def read_template(revision: Obj) -> Obj:
    """The pod template that a revision keeps."""
    template = revision["data"]["spec"]["template"]
    return {key: value for key, value in template.items() if key != "$patch"}


def plan_history(owner: Obj, known: list[Obj], pods: list[Obj], live: set[str]) -> list[Action]:
    """Deletes the oldest revisions beyond spec.revisionHistoryLimit that no pod has.

    `live` are the names of those that are needed in any case.
    """
    used = live | {labels_of(pod).get(POD_LABEL, "") for pod in pods}
    unused = sorted(
        (each for each in known if each["metadata"]["name"] not in used),
        key=lambda each: int(each["revision"]),
    )
    surplus = len(unused) - owner["spec"].get("revisionHistoryLimit", 10)
    return [build_delete("controllerrevisions", each) for each in unused[: max(0, surplus)]]
