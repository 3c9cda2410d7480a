"""One change of one of Istio's objects, and the patch that makes it: pure.

Lists are whole to the API server, so a patch begins with a test of the resourceVersion (RFC 6902).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ktnet.cluster.istio.record import ANNOTATION, IstioRecord, build_record_text

Json = dict[str, Any]
Plural = Literal["destinationrules", "virtualservices"]

OTHERS = "kt-others"
"""The subset of everybody's else, where no subset of the user's leaves the marked pods out."""

LIST: dict[Plural, str] = {"destinationrules": "subsets", "virtualservices": "http"}
KIND: dict[Plural, str] = {
    "destinationrules": "DestinationRule",
    "virtualservices": "VirtualService",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One object's change."""

    plural: Plural
    before: Json | None
    """None: it is to be made."""
    after: Json | None
    """None: it is to be deleted."""


def diff_step(step: Step) -> list[Json]:
    """The JSON patch (RFC 6902) that makes it of an object that is there. Raises nothing."""
    if step.before is None or step.after is None:
        return []
    before, after, key = step.before, step.after, LIST[step.plural]
    patch = [
        *_diff_annotation(before["metadata"], after["metadata"]),
        *_diff_key(before["spec"], after["spec"], key, f"/spec/{key}"),
    ]
    if not patch:
        return []
    version = before["metadata"]["resourceVersion"]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *patch]


def _diff_annotation(before: Json, after: Json) -> list[Json]:
    old, new = before.get("annotations") or {}, after.get("annotations") or {}
    path = "/metadata/annotations"
    if old and not new:
        return [{"op": "remove", "path": path}]
    if new and not old:
        return [{"op": "add", "path": path, "value": new}]
    return _diff_key(old, new, ANNOTATION, f"{path}/{ANNOTATION.replace('/', '~1')}")


def _diff_key(before: Json, after: Json, key: str, path: str) -> list[Json]:
    if before.get(key) == after.get(key) and (key in before) == (key in after):
        return []
    if key not in after:
        return [{"op": "remove", "path": path}]
    return [{"op": "add", "path": path, "value": after[key]}]


def with_list(obj: Json, key: str, items: list[Json]) -> Json:
    return {**obj, "spec": {**obj["spec"], key: items}}


def with_record(obj: Json, record: IstioRecord | None) -> Json:
    metadata = dict(obj["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(ANNOTATION, None)
    if record is not None:
        annotations[ANNOTATION] = build_record_text(record)
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    return {**obj, "metadata": metadata}


def take_items(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
