"""04-watch, the part of controllers and kubelet: a Deployment's life, a Service's selector."""

from __future__ import annotations

import asyncio
from typing import Any

from live import (
    LiveLab,
    Watching,
    call_here,
    open_namespace,
    open_watches,
    record_watches,
)
from recordings import list_events

TEST = "transcripts"
LIFECYCLE = {
    f"deployment-lifecycle-{name}"
    for name in ("deployments", "replicasets", "pods", "endpoints", "endpointslices")
}
SELECTOR = {"selector-change-endpoints", "selector-change-endpointslices"}
MERGE = "merge-patch+json"


def requests_of(lab: LiveLab, cases: set[str]) -> dict[str, dict[str, Any]]:
    """By the cases' names, as the recordings of several watches have them."""
    return {
        name: {"path": lab.folder.cases[name].path, "query": lab.folder.cases[name].query}
        for name in sorted(cases)
    }


def record(lab: LiveLab, cases: set[str], watches: dict[str, Watching]) -> None:
    recorded = {name: list_timed_events(lab, name) for name in sorted(cases)}
    record_watches(lab, recorded, watches)


def list_timed_events(lab: LiveLab, name: str) -> list[Any]:
    events = lab.folder.cases[name].document["response"]["events"]
    return [{**each["event"], "t": each["t"]} for each in events]


async def replay_deployments(lab: LiveLab) -> None:
    """Both side by side."""
    async with open_namespace(lab, TEST) as namespace, asyncio.TaskGroup() as tasks:
        tasks.create_task(replay_lifecycle(lab, namespace))
        tasks.create_task(replay_selector(lab, namespace))


async def replay_lifecycle(lab: LiveLab, namespace: str) -> None:
    """Created, rolled out, scaled to 0 and back, left by its Service, deleted."""
    told = [e["object"] for e in list_events(lab.folder.cases["deployment-lifecycle-deployments"])]
    name = lab.name(told[0]["metadata"]["name"])
    own = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    service = f"/api/v1/namespaces/{namespace}/services/{name}"
    await lab.call("POST", service.rpartition("/")[0], build_service(name))
    await lab.wait_for(
        f"/api/v1/namespaces/{namespace}/endpoints/{name}", lambda found: found is not None
    )
    async with open_watches(lab, requests_of(lab, LIFECYCLE)) as watches:
        await lab.create(told[0])
        await lab.wait_for(own, is_settled)
        changed = next(each for each in told if each["metadata"]["generation"] == 2)
        template = lab.called_here(changed["spec"]["template"])
        await lab.call("PATCH", own, {"spec": {"template": template}}, kind=MERGE)
        await lab.wait_for(own, is_settled)
        for replicas in (0, 1):
            scale = {"spec": {"replicas": replicas}}
            await lab.call("PATCH", f"{own}/scale", scale, kind=MERGE)
            await lab.wait_for(own, is_settled)
        nothing = {"spec": {"selector": {"app": "nothing"}}}
        await lab.call("PATCH", service, nothing, kind=MERGE)
        slices = watches["deployment-lifecycle-endpointslices"]
        await slices.wait_for(lambda events: events[-1]["object"]["endpoints"] is None)
        await lab.call("DELETE", own, propagationPolicy="Background")
        pods = watches["deployment-lifecycle-pods"]
        await pods.wait_for(lambda events: count_ended(events) == 3)
        record(lab, LIFECYCLE, watches)


def build_service(name: str) -> Any:
    """In front of the Deployment of its name."""
    port = {"name": "http", "port": 80, "targetPort": "http"}
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"selector": {"app": name}, "ports": [port]},
    }


def count_ended(events: list[Any]) -> int:
    return [each["type"] for each in events].count("DELETED")


def is_settled(deployment: Any) -> bool:
    """Its pods are those that are wanted, and the former ones are gone."""
    wanted, status = deployment["spec"]["replicas"], deployment["status"]
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("replicas", 0) == status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and not status.get("terminatingReplicas")
    )


async def replay_selector(lab: LiveLab, namespace: str) -> None:
    """A Service goes from one Deployment's pods to another's, to none and back."""
    cases = lab.folder.cases
    services = [each["object"] for each in list_events(cases["selector-change-services"])]
    slices = [each["object"] for each in list_events(cases["selector-change-endpointslices"])]
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    for name in ("sela", "selb"):
        await lab.call("POST", apps, build_web(lab, name))
    for name in ("sela", "selb"):
        await lab.wait_for(f"{apps}/{lab.name(name)}", is_settled)
    await lab.create(services[0])
    service = f"/api/v1/namespaces/{namespace}/services/{lab.name('sel')}"
    endpoints = service.replace("/services/", "/endpoints/")
    await lab.wait_for(endpoints, lambda found: found is not None and "subsets" in found)
    async with open_watches(lab, requests_of(lab, SELECTOR)) as watches:
        told = watches["selector-change-endpointslices"]
        seen = 1
        for now in services[1:-1]:
            spec = lab.called_here(now["spec"])
            change = [
                {"op": "add", "path": f"/spec/{key}", "value": spec.get(key)}
                for key in ("selector", "ports")
            ]
            await lab.call("PATCH", service, change, kind="json-patch+json")
            if "selector" in spec:
                # Without one all stays as it was.
                seen += 1
                await told.wait_for(lambda events, seen=seen: len(events) >= seen)
        pods = f"/api/v1/namespaces/{namespace}/pods"
        selected = await lab.call("GET", pods, labelSelector=f"app={lab.name('sela')}")
        await lab.call("DELETE", f"{pods}/{selected['items'][0]['metadata']['name']}")
        await told.wait_for(lambda events: count_ready(events[-1]) == 1 and len(events) > seen + 2)
        await lab.create(next(each for each in slices if each["metadata"]["name"] == "sel-manual"))
        await told.wait_for(lambda events: events[-1]["type"] == "ADDED")
        await lab.call("DELETE", service)
        await told.wait_for(lambda events: events[-1]["type"] == "DELETED")
        await watches["selector-change-endpoints"].wait_for(
            lambda events: events[-1]["type"] == "DELETED"
        )
        record(lab, SELECTOR, watches)


def build_web(lab: LiveLab, name: str) -> Any:
    """A Deployment of one web server that doesn't hear SIGTERM."""
    labels = {"app": lab.name(name)}
    container = {
        "name": "main",
        "image": "echo-server:test",
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 2}
    return {
        "metadata": {"name": lab.name(name)},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": call_here(spec)},
        },
    }


def count_ready(event: Any) -> int:
    """Where all endpoints of a slice are ready, how many they are; else 0."""
    endpoints = event["object"]["endpoints"] or []
    ready = [each for each in endpoints if each["conditions"]["ready"]]
    return len(ready) if len(ready) == len(endpoints) else 0
