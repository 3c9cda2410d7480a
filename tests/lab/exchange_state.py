"""What there is of exchanges in a lab: all objects that they make or change, compared whole."""

from __future__ import annotations

import json
from typing import Any

from connect_client import differences
from inbound_scene import kubectl, read_object

from ktnet.lab.harness import Lab
from ktnet.wire.record import ANNOTATION

KINDS = (
    *("deployments", "statefulsets", "services", "jobs", "leases"),
    *("serviceaccounts", "roles", "rolebindings", "configmaps", "poddisruptionbudgets"),
)


def read_state(lab: Lab, *more: str) -> dict[str, Any]:
    """All of them, and of `more` kinds, whole but for what counts changes."""
    listing = json.loads(kubectl(lab, "get", ",".join((*KINDS, *more)), "-o", "json"))
    objects = {f"{obj['kind']} {obj['metadata']['name']}": keep(obj) for obj in listing["items"]}
    return dict(sorted(objects.items()))


def keep(obj: dict[str, Any]) -> dict[str, Any]:
    counts = {"resourceVersion", "generation", "managedFields"}
    metadata = {key: value for key, value in obj["metadata"].items() if key not in counts}
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}


def left_behind(lab: Lab, before: dict[str, Any]) -> list[str]:
    """What is otherwise than it was."""
    after = read_state(lab)
    names = sorted({*before, *after})
    return differences(dict.fromkeys(names) | before, dict.fromkeys(names) | after, *names)


def annotation_of(lab: Lab, kind: str, name: str) -> str | None:
    """What an exchange has written on an object."""
    return read_object(lab, kind, name)["metadata"].get("annotations", {}).get(ANNOTATION)
