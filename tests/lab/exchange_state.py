"""What there is of exchanges in a lab: all objects that they make or change, compared whole."""

from __future__ import annotations

from typing import Any

from api_client import list_objects, read_object
from connect_client import differences

from ktnet.lab.harness import Lab
from ktnet.wire.record import ANNOTATION

KINDS = (
    *("deployments", "statefulsets", "services", "jobs", "leases"),
    *("serviceaccounts", "roles", "rolebindings", "configmaps", "poddisruptionbudgets"),
)


def read_state(lab: Lab, *more: str) -> dict[str, Any]:
    """All of them, and of `more` kinds, whole but for what counts changes."""
    return {
        f"{kind} {obj['metadata']['name']}": keep(obj)
        for kind, found in list_objects(lab, *KINDS, *more).items()
        for obj in found
    }


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


def count_ready(lab: Lab, deployment: str) -> int:
    """Of its pods."""
    status = read_object(lab, "deployments", deployment)["status"]
    return int(status.get("readyReplicas", 0))
