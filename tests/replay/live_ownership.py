"""05-ownership, the part of controllers and kubelet: what goes with a Job, what joins a Service."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from live import LiveLab, Watching, open_namespace, open_watches, place_of, record_watches, strip
from live_deployments import count_ended, count_ready, is_settled

TEST = "transcripts"
JOBS = {
    "gcbg": "Background",
    "gcfg": "Foreground",
    "gcfgblock": "Foreground",
    "gcorphan": "Orphan",
    "gcdefault": "",
}
"""The Jobs that were deleted, each with its propagationPolicy."""
CASES = frozenset(
    {
        *(f"job-{name}-events" for name in JOBS),
        *("job-ttl-events", "bare-pods-with-deployment-labels"),
        "endpoints-join-without-readiness-probe",
    }
)
LATER_S = 4.5
"""As long was watched where nothing more was to come."""


NEVER_THERE = {"name": "late", "secret": {"secretName": "late", "defaultMode": 420}}
"""Keeps a pod from starting: on the recorded node that took a second, in which it was deleted."""


def list_recorded(lab: LiveLab, case: str) -> dict[str, list[Any]]:
    """The events of each watch, in the order of arrival."""
    document = copy.deepcopy(lab.folder.cases[case].document)
    found: dict[str, list[Any]] = {watch: [] for watch in document["watches"]}
    for each in document["events_merged_in_order_of_arrival"]:
        found[each["watch"]].append({**each["event"], "t": each["t"]})
    return found


async def replay_ownership(lab: LiveLab) -> None:
    """All of them side by side, in one namespace as they were recorded."""
    async with open_namespace(lab, TEST), asyncio.TaskGroup() as tasks:
        for name, policy in JOBS.items():
            tasks.create_task(replay_deleted(lab, name, policy))
        tasks.create_task(replay_expired(lab))
        tasks.create_task(replay_joining(lab))
        tasks.create_task(replay_adoption(lab))


async def make_family(lab: LiveLab, recorded: dict[str, list[Any]]) -> dict[str, Any]:
    """A Job and what it owns beside its pod; each as the lab has it."""
    first = {watch: events[0]["object"] for watch, events in recorded.items()}
    job = await lab.create(first["jobs"])
    made = {"jobs": job}
    for watch in ("secrets", "services", "extra-pod"):
        made[watch] = await lab.create(first[watch], owner=job)
    return made


async def replay_deleted(lab: LiveLab, name: str, policy: str) -> None:
    """A Job is deleted while its pods run."""
    case = f"job-{name}-events"
    recorded = list_recorded(lab, case)
    async with open_watches(lab, lab.folder.cases[case].document["watches"]) as watches:
        await make_family(lab, recorded)
        await watches["extra-pod"].wait_for(lambda events: is_ready(events[-1]["object"]))
        await watches["endpointslices"].wait_for(lambda events: count_ready(events[-1]) == 1)
        await watches["jobs"].wait_for(lambda events: events[-1]["object"]["status"].get("ready"))
        job = watches["jobs"].events[-1]["object"]
        options = {"propagationPolicy": policy} if policy else {}
        await lab.call("DELETE", f"{place_of(job)}/{job['metadata']['name']}", **options)
        await wait_for_as_many_ends(recorded, watches)
        if policy in {"", "Orphan"}:
            await asyncio.sleep(LATER_S)
        record_watches(lab, recorded, watches, case=case)


async def wait_for_as_many_ends(
    recorded: dict[str, list[Any]], watches: dict[str, Watching]
) -> None:
    for watch, events in recorded.items():
        ended = count_ended(events)
        await watches[watch].wait_for(lambda found, ended=ended: count_ended(found) >= ended)


def is_ready(pod: Any) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in pod["status"].get("conditions") or []
    )


async def replay_expired(lab: LiveLab) -> None:
    """A Job that has completed goes when its ttl is over, and takes along what it owns."""
    case = "job-ttl-events"
    recorded = list_recorded(lab, case)
    async with open_watches(lab, lab.folder.cases[case].document["watches"]) as watches:
        await make_family(lab, recorded)
        await wait_for_as_many_ends(recorded, watches)
        record_watches(lab, recorded, watches, case=case)


async def replay_joining(lab: LiveLab) -> None:
    """A pod that nobody asks whether it is ready; in and out of a Service by its label."""
    case = "endpoints-join-without-readiness-probe"
    recorded = list_recorded(lab, case)
    core = f"/api/v1/namespaces/{lab.name(TEST)}"
    name = lab.name("join")
    await lab.call("POST", f"{core}/services", build_plain_service(name, 8080))
    await lab.wait_for(f"{core}/endpoints/{name}", lambda found: found is not None)
    own = f"{core}/pods/{name}"
    async with open_watches(lab, lab.folder.cases[case].document["watches"]) as watches:
        slices = watches["endpointslices"]
        await lab.create(recorded["pods"][0]["object"])
        await lab.wait_for(own, is_ready)
        await slices.wait_for(lambda events: len(events) == 2)
        for label, seen in ((None, 3), (name, 4)):
            change = {"metadata": {"labels": {"app": label}}}
            await lab.call("PATCH", own, change, kind="merge-patch+json")
            await slices.wait_for(lambda events, seen=seen: len(events) == seen)
        await lab.call("DELETE", own, gracePeriodSeconds="0")
        await slices.wait_for(lambda events: events[-1]["object"]["endpoints"] is None)
        record_watches(lab, recorded, watches, case=case)


async def replay_adoption(lab: LiveLab) -> None:
    """Bare pods with a Deployment's labels: with the hash or without, with an owner or without."""
    case = "bare-pods-with-deployment-labels"
    recorded = list_recorded(lab, case)
    pods = {each["object"]["metadata"]["name"]: each["object"] for each in recorded["pods"][::-1]}
    for each in recorded["pods"]:
        if each["object"]["metadata"]["name"] == "hashed":
            each["object"]["spec"]["volumes"].insert(0, NEVER_THERE)
    namespace = lab.name(TEST)
    core, name = f"/api/v1/namespaces/{namespace}", lab.name("adopt")
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    lease = await lab.call("POST", leases, {"metadata": {"name": lab.name("owner")}})
    await lab.call("POST", apps, build_deployment(lab, recorded["replicasets"][0]["object"]))
    await lab.call("POST", f"{core}/services", build_plain_service(name, "http"))
    await lab.wait_for(f"{apps}/{name}", is_settled)
    (replicaset,) = (
        await lab.call(
            "GET", apps.replace("deployments", "replicasets"), labelSelector=f"app={name}"
        )
    )["items"]
    hashed = replicaset["metadata"]["labels"]
    await lab.wait_for(
        f"{core}/endpoints/{name}", lambda found: found is not None and "subsets" in found
    )
    async with open_watches(lab, lab.folder.cases[case].document["watches"]) as watches:
        for each in ("bare", "leased", "hashed", "hashedleased"):
            shown = lab.called_here(strip(pods[each]))
            meta = shown["metadata"]
            if each.startswith("hashed"):
                meta["labels"] = hashed
            if each == "hashed":
                meta.pop("ownerReferences", None)
            for reference in meta.get("ownerReferences") or []:
                reference["uid"] = lease["metadata"]["uid"]
            await lab.call("POST", f"{core}/pods", shown)
            place = f"{core}/pods/{meta['name']}"
            if each == "hashed":
                # One too many for the ReplicaSet, which it belongs to from now on.
                await lab.wait_for(place, lambda found: found is None)
            else:
                await lab.wait_for(place, is_ready)
        scale = {"spec": {"replicas": 0}}
        await lab.call("PATCH", f"{apps}/{name}/scale", scale, kind="merge-patch+json")
        await watches["pods"].wait_for(lambda events: count_ended(events) == 2)
        await lab.wait_for(f"{apps}/{name}", is_settled)
        owner = f"{leases}/{lab.name('owner')}"
        await lab.call("DELETE", owner, propagationPolicy="Background")
        await watches["pods"].wait_for(lambda events: count_ended(events) == 4)
        await asyncio.sleep(0.3)
        record_watches(lab, recorded, watches, case=case)


def build_plain_service(name: str, target: int | str) -> Any:
    """Of one port without a name."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": target}]}
    return {"metadata": {"name": name}, "spec": spec}


def build_deployment(lab: LiveLab, replicaset: Any) -> Any:
    """The one that made a recorded ReplicaSet."""
    shown = lab.called_here(replicaset)
    name, template = lab.name("adopt"), shown["spec"]["template"]
    return {
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {**template, "metadata": {"labels": {"app": name}}},
        },
    }
