"""What the state of a shadow pod means for the session: pure.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.server.answers import one_line
from ktnet.cluster.shadow.manifests import CONTAINER
from ktnet.errors import RemoteProtocolError, ShadowFailed

Json = dict[str, Any]

_IMAGE_HINT = (
    "build the shadow image, push it where the cluster pulls from, and name it with --image or "
    "KTNET_IMAGE; or connect with --sideload, which takes any Python image (--image "
    "python:3.12-slim, or a mirror's)"
)
_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
"""Of waiting containers; kubernetes/kubernetes, pkg/kubelet/images/types.go."""
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError"}
)
"""The container can't be made or started; pkg/kubelet/kuberuntime/kuberuntime_container.go."""


_FRAME = re.compile(
    r"^(?:Error creating: |can't create \S+ in namespace \S+: )?(?:\S+ \"[^\"]*\" is forbidden: )?"
)
"""What stands before the cause: by the Job's controller, by us, and by the API server's admission
(k8s.io/apiserver, pkg/admission/errors.go)."""


@dataclass(frozen=True, slots=True)
class RunningPod:
    """A shadow pod whose container runs."""

    name: str
    uid: str
    ip: str
    node: str
    container_id: str
    """Of this very container: another one after a restart, with another host key."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not there yet, and why, in the kubelet's words."""

    reason: str


def judge_pod(pod: Json) -> RunningPod | Waiting:
    """How far a shadow pod is.

    Raises ShadowFailed where it can't come up as it is, though the cluster would go on trying:
    whoever waits at a terminal is better served by the cause. Raises RemoteProtocolError for
    what isn't shaped as a pod is.
    """
    try:
        return _judge(pod)
    except (AttributeError, LookupError, TypeError) as error:
        raise RemoteProtocolError("the API server sent a pod of an unknown shape") from error


def build_admission_error(said: str) -> ShadowFailed:
    """What the cluster has against the shadow: its answer to a Job, an Event about the Job's pod,
    or what it says in a dry run. The same words for all three, without the object's name."""
    return ShadowFailed(
        f"the cluster does not admit the shadow: {_FRAME.sub('', said)}",
        hint="is there a quota or a policy (PodSecurity, webhook) in this namespace?",
    )


def judge_event(event: Json) -> None:
    """Raise ShadowFailed for an Event of the Job that says it can't create its pod."""
    if event.get("reason") == "FailedCreate":
        raise build_admission_error(_say(event.get("message")))


def find_end(pod: Json) -> str:
    """Why a pod is ending, or has ended; empty for one that isn't."""
    metadata, status = _part(pod, "metadata"), _part(pod, "status")
    if status.get("reason") == "Evicted":
        return "the shadow's pod was evicted"
    if metadata.get("deletionTimestamp"):
        return "the shadow's pod is being deleted"
    if status.get("phase") in ("Failed", "Succeeded"):
        return f"the shadow's pod has ended: {_say(status.get('reason') or status['phase'])}"
    return ""


def is_job_lost(job: Json | None, pods: list[Json], *, has_run: bool) -> bool:
    """Whether a session's Job isn't worth waiting for: it is over, or has lost its pod.

    `pods` are the Job's; `has_run` says whether one of them was seen to run. A Job that has made no
    pod yet is about to; one that has lost its pod backs off for 10 s and more, as the kubelet does
    with a container that crashes again and again.
    """
    if job is None or _part(job, "metadata").get("deletionTimestamp") or _is_finished(job):
        return True
    live = [pod for pod in pods if not find_end(pod)]
    if live:
        return all(_is_crash_looping(pod) for pod in live)
    return has_run or bool(pods)


def uid_of(obj: Json) -> str:
    """An object's uid; empty where it has none."""
    return str(_part(obj, "metadata").get("uid") or "")


def owner_uid_of(obj: Json) -> str:
    """The uid of its owner, of whom our pods have one; empty where it has none."""
    owners = _part(obj, "metadata").get("ownerReferences")
    owner = owners[0] if isinstance(owners, list) and owners else None
    return str(owner.get("uid") or "") if isinstance(owner, dict) else ""


def _is_finished(job: Json) -> bool:
    return any(
        isinstance(condition, dict)
        and condition.get("type") in ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget")
        and condition.get("status") == "True"
        for condition in _part(job, "status").get("conditions") or []
    )


def _is_crash_looping(pod: Json) -> bool:
    return any(
        isinstance(container, dict)
        and _part(_part(container, "state"), "waiting").get("reason") == "CrashLoopBackOff"
        for container in _part(pod, "status").get("containerStatuses") or []
    )


def _part(obj: Json, name: str) -> Json:
    part = obj.get(name)
    return part if isinstance(part, dict) else {}


def _judge(pod: Json) -> RunningPod | Waiting:
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Waiting("Terminating")
    if status.get("phase") in ("Succeeded", "Failed"):
        raise ShadowFailed(f"the shadow pod has ended: {_ending(status)}")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            raise ShadowFailed(
                f"no node takes the shadow pod: {_say(condition.get('message'))}",
                hint="the scheduler says why; free resources, or ask whoever runs the cluster",
            )
    for container in status.get("containerStatuses") or []:
        if container.get("name") == CONTAINER:
            return _judge_container(metadata, pod.get("spec") or {}, status, container)
    return Waiting(_say(status.get("phase") or "Pending"))


def _judge_container(
    metadata: Json, spec: Json, status: Json, container: Json
) -> RunningPod | Waiting:
    state = container.get("state") or {}
    if "running" in state and status.get("podIP") and container.get("containerID"):
        return RunningPod(
            name=_say(metadata["name"]),
            uid=_say(metadata["uid"]),
            ip=_say(status["podIP"]),
            node=_say(spec.get("nodeName")),
            container_id=_say(container["containerID"]),
        )
    waiting = state.get("waiting") or {}
    reason = _say(waiting.get("reason"))
    said = _join(reason, waiting.get("message"))
    if reason in _IMAGE_REASONS:
        raise ShadowFailed(
            f"the shadow's image {_say(container.get('image'))} can't be had: {said}",
            hint=_IMAGE_HINT,
        )
    if reason in _CONFIG_REASONS:
        raise ShadowFailed(f"the shadow's container can't be started: {said}")
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended:
        raise ShadowFailed(
            f"the shadow ends at once, {_exit(ended)}",
            hint="is it the image of this ktnet's own version?",
        )
    return Waiting(reason or _say(status.get("phase") or "Pending"))


def _ending(status: Json) -> str:
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return _exit(ended)
    return _join(status.get("phase"), status.get("reason"), status.get("message"))


def _exit(ended: Json) -> str:
    return _join(f"exit code {ended.get('exitCode')}", ended.get("reason"), ended.get("message"))


def _join(*words: Any) -> str:
    return ": ".join(_say(word) for word in words if word)


def _say(words: Any) -> str:
    """The cluster's words, fit for a terminal."""
    return one_line(str(words or ""))
