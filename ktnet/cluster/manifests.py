"""The objects that a session creates: pure.

A Job owns the shadow pod and, by ownerReferences, all else that is the session's alone. Whatever
becomes of the client, the shadow exits 0 when nobody has come for a while, the Job completes, its
ttl deletes it, and garbage collection takes the rest.
https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ktnet.cluster.sideload.bundle import (
    PARTS,
    SITE,
    Bundle,
    list_part_names,
    read_bootstrap,
)
from ktnet.wire.shadow import SSH_PORT

Json = dict[str, Any]
Via = Literal["port-forward", "direct"]

CONTAINER = "shadow"

LEASE_DURATION_S = 60
"""A holder that has not renewed for so long may be taken for gone."""

_BACKOFF_LIMIT = 2147483647
"""The largest that the field takes (int32): a node that loses its pods every day must never end
the session; only the shadow's own exit 0 does."""

_TTL_S = 10
"""How long the Job stays after its end: long enough to see why, short enough to leave no litter."""

_GRACE_S = 5
"""The shadow needs no more to close its connections; the default of 30 would delay a drain."""

_SITE_LIMIT = "128Mi"
"""For code and packages, unpacked (20 MiB) and compiled; a quota may want a limit."""

_NOBODY = 65534
"""User and group of the shadow: it needs no rights at all."""


@dataclass(frozen=True, slots=True)
class Sideload:
    """A shadow in a stock Python image, into which its code is brought."""

    wheels: str | None = None
    """The folder with what it depends on; None: pip's index."""
    bundle: Bundle | None = None
    """What is brought; put in by whoever has packed it."""


@dataclass(frozen=True, slots=True)
class ShadowSpec:
    """What a session asks of the cluster."""

    namespace: str
    image: str
    authorized_key: str = ""
    """The client's public key, "ssh-ed25519 BASE64"; put in by whoever has made it."""
    via: Via = "port-forward"
    image_pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    """Its name, for what admission makes of it; no token of it is mounted."""
    node_selector: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """The user's own, on Job and pod; none of those in `build_labels`."""
    annotations: tuple[tuple[str, str], ...] = ()
    """The user's own, on Job and pod; they come before ours."""
    resources: tuple[tuple[str, str], ...] = ()
    """Requests and limits ("cpu", "500m"); where there are none, small requests and no limits."""
    idle_s: int = 60
    """The shadow ends itself after so long without a client."""
    timeout_s: float = 60
    """By then the shadow must run, or the session fails."""
    sideload: Sideload | None = None
    """None where the image has all that it takes."""


def build_labels(session: str) -> dict[str, str]:
    """Labels of every object of the session of that name."""
    return {
        "app.kubernetes.io/name": "ktnet-shadow",
        "app.kubernetes.io/managed-by": "ktnet",
        "ktnet.dev/session": session,
        "ktnet.dev/command": "connect",
    }


def build_job(
    session: str, spec: ShadowSpec, name: str = "", *, is_suspended: bool = False
) -> Json:
    """A Job whose one pod is the session's shadow; it is called as the session is, or `name`.

    Suspended, it makes its pod only when that is undone: it can own things that the pod needs.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name or session,
            "namespace": spec.namespace,
            "labels": {**dict(spec.labels), **build_labels(session)},
            "annotations": dict(spec.annotations),
        },
        "spec": {
            # No podFailurePolicy: with one, a lost pod is replaced only after its full end.
            "backoffLimit": _BACKOFF_LIMIT,
            "ttlSecondsAfterFinished": _TTL_S,
            **({"suspend": True} if is_suspended else {}),
            "template": _build_pod_template(session, spec),
        },
    }


def _build_pod_template(session: str, spec: ShadowSpec) -> Json:
    pod: Json = {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        # A namespace with thousands of Services would else give the shadow as many variables.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_build_container(spec)],
    }
    if spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in spec.image_pull_secrets]
    if spec.service_account:
        pod["serviceAccountName"] = spec.service_account
    if spec.node_selector:
        pod["nodeSelector"] = dict(spec.node_selector)
    if spec.sideload is not None and spec.sideload.bundle is not None:
        _add_sideload(pod, list_part_names(session, spec.sideload.bundle), spec.sideload.bundle)
    return {
        "metadata": {
            "labels": dict(spec.labels)
            | build_labels(session)
            | {"ktnet.dev/via": spec.via, "sidecar.istio.io/inject": "false"},
            # A mesh's sidecar would take the shadow's connections and keep the Job from its end.
            "annotations": {
                "sidecar.istio.io/inject": "false",
                "linkerd.io/inject": "disabled",
            }
            | dict(spec.annotations),
        },
        "spec": pod,
    }


def _build_container(spec: ShadowSpec) -> Json:
    direct = spec.via == "direct"
    container: Json = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--authorized-key",
            spec.authorized_key,
            "--bind",
            "$(POD_IP)" if direct else "127.0.0.1",
            "--port",
            str(SSH_PORT),
            "--idle",
            str(spec.idle_s),
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": _build_resources(spec),
    }
    if direct:
        container["env"] = [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        ]
    return container


def _add_sideload(pod: Json, parts: list[str], bundle: Bundle) -> None:
    """Volumes with the parts and for what comes out of them, and the program that does it."""
    pod["volumes"] = [
        {"name": "parts", "projected": {"sources": [{"configMap": {"name": n}} for n in parts]}},
        {"name": "site", "emptyDir": {"sizeLimit": _SITE_LIMIT}},
    ]
    container = pod["containers"][0]
    container["command"] = ["python3", "-I", "-B", "-c", read_bootstrap()]
    container["args"] = [bundle.digest, bundle.soabi, *container["args"]]
    container["volumeMounts"] = [
        {"name": "parts", "mountPath": PARTS, "readOnly": True},
        {"name": "site", "mountPath": SITE},
    ]
    # Its last line says why it refuses what it found.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"


def _build_resources(spec: ShadowSpec) -> Json:
    if spec.resources:
        # Whoever names them has a quota that wants both.
        return {"requests": dict(spec.resources), "limits": dict(spec.resources)}
    # Requests only: a memory limit would kill the tunnel under load.
    return {"requests": {"cpu": "10m", "memory": "64Mi"}}


def build_lease(name: str, namespace: str, holder: str, now: datetime) -> Json:
    """The Lease that says who holds the session and, by its renewals, that they are there.

    Its owner is for the caller to say. `holder` is for people: user@host. `now` is the server's
    time, UTC.
    """
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": build_labels(name),
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "acquireTime": build_micro_time(now),
            "renewTime": build_micro_time(now),
        },
    }


def build_renewal(now: datetime) -> Json:
    """The merge patch of a heartbeat."""
    return {"spec": {"renewTime": build_micro_time(now)}}


def build_micro_time(moment: datetime) -> str:
    """A MicroTime: RFC 3339 with exactly six digits after the point, else the API refuses it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
