"""A pod's status as a kubelet writes it, from what it knows about the pod. Pure.

Shapes as recorded: 03-defaulting/pod-*, 04-watch/deployment-lifecycle-pods,
05-ownership/job-ttl-events. `phase` and conditions follow
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from ktnet.lab.node.images import build_full_name, build_image_id
from ktnet.lab.node.launch import Identity
from ktnet.lab.topology import NODE_LAN_ADDRESS

Obj = dict[str, Any]

ENDED = frozenset({"Succeeded", "Failed"})

CREATING: Obj = {"waiting": {"reason": "ContainerCreating"}}


@dataclass
class ContainerFacts:
    """What is known about one container of a pod."""

    spec: Obj
    state: Obj = field(default_factory=lambda: CREATING)
    last_state: Obj = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    starting: bool = False
    """It runs, and its startup probe has yet to say yes."""
    container_id: str = ""
    identity: Identity | None = None
    over: bool = False
    """Terminated, and not to be started again."""

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """Of the last run, where it is the current state."""
        code = self.state.get("terminated", {}).get("exitCode")
        return None if code is None else int(code)


@dataclass
class PodFacts:
    """What is known about a pod."""

    start_time: str
    sandbox_ready: bool = False
    address: IPv4Address | None = None
    containers: list[ContainerFacts] = field(default_factory=list)


def format_time(time_ns: int) -> str:
    """metav1.Time: whole seconds, UTC."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_pod_status(pod: Obj, facts: PodFacts, now: str) -> Obj:
    """The whole status; conditions that did not change keep their time."""
    old: Obj = pod.get("status") or {}
    generation = pod["metadata"].get("generation", 1)
    phase = build_phase(facts.containers)
    # That all is over is said when its sandbox is gone, the end of its containers before that; of
    # a pod that was told to end, both at once.
    closing = phase in ENDED and facts.sandbox_ready and "deletionTimestamp" not in pod["metadata"]
    status: Obj = {
        "observedGeneration": generation,
        "phase": "Running" if closing else phase,
        "conditions": build_conditions(facts, phase, closing, generation, old, now),
        "hostIP": str(NODE_LAN_ADDRESS),
        "hostIPs": [{"ip": str(NODE_LAN_ADDRESS)}],
    }
    started = any(each.container_id for each in facts.containers)
    waiting = any(_pull_failed(each) for each in facts.containers)
    if facts.address is not None and (started or waiting):
        # A kubelet learns the address with the first container that it asks the runtime about.
        status["podIP"] = str(facts.address)
        status["podIPs"] = [{"ip": str(facts.address)}]
    elif "podIP" in old:
        status["podIP"] = old["podIP"]
        status["podIPs"] = old["podIPs"]
    status["startTime"] = facts.start_time
    status["containerStatuses"] = [build_container_status(each) for each in facts.containers]
    if "qosClass" in old:
        status["qosClass"] = old["qosClass"]
    if started:
        status["resources"] = {}
    return status


def build_rejected_status(pod: Obj, reason: str, message: str, now: str) -> Obj:
    """Of a pod that this node will not run.

    As recorded in 09-podsecurity/pod-unsafe-sysctl-unrestricted-after.
    """
    status: Obj = {
        "observedGeneration": pod["metadata"].get("generation", 1),
        "phase": "Failed",
        "message": f"Pod was rejected: {message}",
        "reason": reason,
        "startTime": now,
    }
    if "qosClass" in (pod.get("status") or {}):
        status["qosClass"] = pod["status"]["qosClass"]
    return status


def build_phase(containers: Sequence[ContainerFacts]) -> str:
    """Pending until every container has been started once; then by how they are and ended."""
    if any("waiting" in each.state and not each.last_state for each in containers):
        return "Pending"
    if not all(each.over for each in containers):
        return "Running"
    return "Succeeded" if all(each.exit_code == 0 for each in containers) else "Failed"


def build_conditions(
    facts: PodFacts, phase: str, closing: bool, generation: int, old: Obj, now: str
) -> list[Obj]:
    """In the order in which a kubelet writes them; `closing`: the sandbox is still there."""
    unready = [each.spec["name"] for each in facts.containers if not each.ready]
    over = phase in ENDED
    never_began = not any(each.container_id for each in facts.containers)
    why: Obj = {}
    if over and not never_began:
        why = {"reason": "PodCompleted" if phase == "Succeeded" else "PodFailed"}
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        why = {"reason": "ContainersNotReady", "message": message}
    completed = {"reason": "PodCompleted"} if phase == "Succeeded" else {}
    ready = not over and not unready
    wanted = [
        ("PodReadyToStartContainers", facts.sandbox_ready and (closing or not over), {}),
        ("Initialized", True, completed),
        ("Ready", ready, why),
        ("ContainersReady", ready, why),
        ("PodScheduled", True, {}),
    ]
    before = {each["type"]: each for each in old.get("conditions") or ()}
    conditions = []
    for kind, value, details in wanted:
        text = "True" if value else "False"
        unchanged = kind in before and before[kind]["status"] == text
        conditions.append(
            {
                "type": kind,
                "observedGeneration": generation,
                "status": text,
                "lastProbeTime": None,
                "lastTransitionTime": before[kind]["lastTransitionTime"] if unchanged else now,
                **details,
            }
        )
    return conditions


def build_container_status(facts: ContainerFacts) -> Obj:
    """One entry of `containerStatuses`."""
    spec = facts.spec
    status: Obj = {
        "name": spec["name"],
        "state": facts.state,
        "lastState": facts.last_state,
        "ready": facts.ready,
        "restartCount": facts.restarts,
        "image": spec["image"],
        "imageID": "",
    }
    if facts.container_id:
        full_name = build_full_name(spec["image"])
        status["image"] = full_name
        status["imageID"] = build_image_id(full_name)
        status["containerID"] = facts.container_id
    status["started"] = facts.running and not facts.starting
    if facts.container_id:
        status["resources"] = spec.get("resources") or {}
    if spec.get("volumeMounts"):
        status["volumeMounts"] = [_build_mount_status(each) for each in spec["volumeMounts"]]
    if facts.identity is not None:
        status["user"] = {
            "linux": {
                "uid": facts.identity.uid,
                "gid": facts.identity.gid,
                "supplementalGroups": list(facts.identity.groups),
            }
        }
    return status


def build_terminated(
    exit_code: int, started: str, finished: str, container_id: str, message: str
) -> Obj:
    """The state of a container that has ended."""
    terminated: Obj = {
        "exitCode": exit_code,
        "reason": "Completed" if exit_code == 0 else "Error",
        "startedAt": started,
        "finishedAt": finished,
        "containerID": container_id,
    }
    if message:
        terminated["message"] = message
    return {"terminated": terminated}


def _build_mount_status(mount: Obj) -> Obj:
    status = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        status |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return status


def _pull_failed(facts: ContainerFacts) -> bool:
    return facts.state.get("waiting", {}).get("reason") in {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
    }
