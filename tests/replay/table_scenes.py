"""Tables of objects that the recording shows as rows only: each is built from its row's cells.

So the Table must say of an object what was put into it, in the columns and the words recorded.
"""

from __future__ import annotations

from typing import Any

from replaying import Lab
from scene import add_recorded, add_shown

Obj = dict[str, Any]

KINDS = {
    "configmaps": ("v1", "ConfigMap"),
    "deployments": ("apps/v1", "Deployment"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "events": ("v1", "Event"),
    "jobs": ("batch/v1", "Job"),
    "leases": ("coordination.k8s.io/v1", "Lease"),
    "namespaces": ("v1", "Namespace"),
    "nodes": ("v1", "Node"),
    "secrets": ("v1", "Secret"),
    "services": ("v1", "Service"),
}
DEMO = "demo"
LONG_AGO = "2026-01-01T00:00:00Z"


def build_object(plural: str, cells: list[Any], meta: Obj) -> Obj:
    """What the cells say, in the fields that they come from."""
    version, kind = KINDS[plural]
    return {"apiVersion": version, "kind": kind, "metadata": meta, **_build_body(plural, cells)}


def _build_body(plural: str, cells: list[Any]) -> Obj:
    match plural:
        case "configmaps":
            return {"data": {f"key-{number}": "" for number in range(cells[1])}}
        case "secrets":
            data = {f"key-{number}": "eA==" for number in range(cells[2])}
            return {"type": cells[1], "data": data}
        case "leases":
            return {"spec": {"holderIdentity": cells[1]}}
        case "namespaces":
            return {"status": {"phase": cells[1]}}
        case "endpointslices":
            endpoint = {"addresses": [cells[3]], "conditions": {"ready": True}}
            ports = [{"name": "", "port": int(cells[2]), "protocol": "TCP"}]
            return {"addressType": cells[1], "endpoints": [endpoint], "ports": ports}
        case "services":
            port, _, protocol = cells[4].partition("/")
            ports = [{"port": int(port), "protocol": protocol}]
            selector = _parse_labels(cells[6])
            return {"spec": {"clusterIP": cells[2], "ports": ports, "selector": selector}}
        case "deployments":
            return _build_deployment(cells)
        case "jobs":
            template = {"spec": {**_build_pod(cells[5], cells[6]), "restartPolicy": "Never"}}
            return {"spec": {"template": template}, "status": {"startTime": LONG_AGO}}
        case "events":
            return _build_event(cells)
    return _build_node(cells)


def _build_pod(container: str, image: str) -> Obj:
    return {"containers": [{"name": container, "image": image}]}


def _parse_labels(text: str) -> dict[str, str]:
    return dict(term.split("=") for term in text.split(","))


def _build_deployment(cells: list[Any]) -> Obj:
    ready, _, wanted = cells[1].partition("/")
    labels = _parse_labels(cells[7])
    template = {"metadata": {"labels": labels}, "spec": _build_pod(cells[5], cells[6])}
    counts = {"readyReplicas": int(ready), "updatedReplicas": cells[2]}
    spec = {"replicas": int(wanted), "selector": {"matchLabels": labels}, "template": template}
    return {"spec": spec, "status": {**counts, "availableReplicas": cells[3]}}


def _build_event(cells: list[Any]) -> Obj:
    kind, _, name = cells[3].partition("/")
    component, _, host = cells[5].partition(", ")
    involved = {"kind": kind.capitalize(), "name": name, "fieldPath": cells[4]}
    return {
        "type": cells[1],
        "reason": cells[2],
        "involvedObject": {key: value for key, value in involved.items() if value},
        "source": {"component": component, "host": host},
        "message": cells[6],
        "count": cells[8],
        "firstTimestamp": LONG_AGO,
        "lastTimestamp": LONG_AGO,
    }


def _build_node(cells: list[Any]) -> Obj:
    kernel, _, architecture = cells[8].partition(" (")
    info = {
        "kubeletVersion": cells[4],
        "osImage": cells[7],
        "kernelVersion": kernel,
        "architecture": architecture.rstrip(")"),
        "containerRuntimeVersion": cells[9],
    }
    ready = {"type": "Ready", "status": "True"}
    addresses = [{"type": "InternalIP", "address": cells[5]}]
    return {"status": {"nodeInfo": info, "conditions": [ready], "addresses": addresses}}


async def listed(lab: Lab, plural: str) -> None:
    """The rows' objects, and as many more as the page left out."""
    name = f"table-{plural}"
    answer = lab.folder.cases[name].answer
    clear(lab, plural)
    for row in answer["rows"]:
        meta = row["object"]["metadata"]
        obj = build_object(plural, row["cells"], meta)
        dying = "deletionTimestamp" in meta
        add_shown(lab, obj, generation=meta["generation"] - 1 if dying else None)
        place = (plural, lab.name(meta.get("namespace", "")), lab.folder.renamer.text(meta["name"]))
        lab.bindings.put("uid", meta["uid"], lab.store.get(*place)["metadata"]["uid"])
        if dying:
            lab.store.delete(*place, propagation="Foreground")
    for number in range(answer["metadata"].get("remainingItemCount", 0)):
        obj = build_object(plural, answer["rows"][-1]["cells"], {**meta, "name": f"zz-{number}"})
        add_shown(lab, obj)
    await lab.replay(name)


def clear(lab: Lab, plural: str) -> None:
    """The rows are all that was there; namespaces stay where something lies in them."""
    for obj in lab.store.list(plural):
        meta = obj["metadata"]
        lab.store._remove(plural, obj)
        assert not lab.store.has(plural, meta.get("namespace"), meta["name"])


async def pods(lab: Lab) -> None:
    """Another recording shows this pod whole."""
    add_recorded(lab, "table-pods-object")
    await lab.replay("table-pods")


async def each_kind(folder: Any, build_cluster: Any) -> None:
    for plural in KINDS:
        async with folder.open_lab(build_cluster(folder)) as lab:
            await listed(lab, plural)
    async with folder.open_lab(build_cluster(folder)) as lab:
        await pods(lab)
