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

from ktnet.cluster.exchange.restoring import Restoring, build_restoring_arguments
from ktnet.cluster.labels import COMMAND_LABEL, MANAGED
from ktnet.cluster.rights import Command
from ktnet.cluster.shadow.account import build_account_mount, build_account_volume
from ktnet.cluster.sideload.bundle import (
    PARTS,
    SITE,
    Bundle,
    list_part_names,
    read_bootstrap,
)
from ktnet.wire.meshrecord import SESSION_LABEL
from ktnet.wire.shadow import HEALTH_PORT, SSH_PORT

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

_EXPOSING_GRACE_S = 35
"""For a shadow whose callers have to be drained (`ktnet.shadow.process`): it may take 28."""

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
class ShadowPort:
    """A port of the pod that leads to the laptop."""

    number: int
    name: str = ""
    """By which a Service may mean it."""
    origin: Literal["never", "away", "always"] = "never"
    """When its callers go to the session's Service for the original pods: while the laptop is
    away, or because the user doesn't expose the port."""


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
    """The shadow ends itself after so long without a client; 0: never."""
    timeout_s: float = 60
    """By then the shadow must run, or the session fails."""
    sideload: Sideload | None = None
    """None where the image has all that it takes."""
    command: Command = "connect"
    """Of ktnet, that it is made for."""
    session: str = ""
    """What it is to be called; empty: something new."""
    ports: tuple[ShadowPort, ...] = ()
    pod_labels: tuple[tuple[str, str], ...] = ()
    """Of the pods in whose place it stands: Services find it by them. They come before all."""
    hostname: str = ""
    subdomain: str = ""
    holder: str = ""
    """user@host, on the Job: it is there before the Lease."""
    restoring: Restoring | None = None


HOLDER_ANNOTATION = "ktnet.dev/holder"


def build_labels(session: str, command: str = "connect") -> dict[str, str]:
    """Labels of every object of the session of that name."""
    return {
        **MANAGED,
        "app.kubernetes.io/name": "ktnet-shadow",
        SESSION_LABEL: session,
        COMMAND_LABEL: command,
    }


def build_selector(session: str) -> dict[str, str]:
    """What of these all have: a pod that stands in another's place has that one's for the rest."""
    return {SESSION_LABEL: session}


def find_grace_s(spec: ShadowSpec) -> int:
    """Seconds that the shadow has to end after it was told to."""
    return _EXPOSING_GRACE_S if spec.ports else _GRACE_S


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
            "labels": {**dict(spec.labels), **build_labels(session, spec.command)},
            "annotations": dict(spec.annotations) | _build_holder(spec),
        },
        "spec": {
            # No podFailurePolicy: with one, a lost pod is replaced only after its full end.
            "backoffLimit": _BACKOFF_LIMIT,
            "ttlSecondsAfterFinished": _TTL_S,
            **({"suspend": True} if is_suspended else {}),
            "template": build_pod_template(session, spec),
        },
    }


def _build_holder(spec: ShadowSpec) -> dict[str, str]:
    return {HOLDER_ANNOTATION: spec.holder} if spec.holder else {}


def build_pod_template(session: str, spec: ShadowSpec) -> Json:
    """The shadow's pod, for whatever makes it."""
    pod: Json = {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": find_grace_s(spec),
        "automountServiceAccountToken": False,
        # A namespace with thousands of Services would else give the shadow as many variables.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_build_container(session, spec)],
    }
    if spec.ports:
        # So that nobody may listen on ports below 1024. It is among the safe ones:
        # https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
        pod["securityContext"]["sysctls"] = [
            {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
        ]
    if spec.hostname:
        pod["hostname"] = spec.hostname
    if spec.subdomain:
        pod["subdomain"] = spec.subdomain
    if spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in spec.image_pull_secrets]
    if spec.service_account:
        pod["serviceAccountName"] = spec.service_account
    if spec.restoring is not None:
        pod["serviceAccountName"] = session
        pod["volumes"] = [build_account_volume()]
        pod["containers"][0]["volumeMounts"] = [build_account_mount()]
    if spec.node_selector:
        pod["nodeSelector"] = dict(spec.node_selector)
    if spec.sideload is not None and spec.sideload.bundle is not None:
        _add_sideload(pod, list_part_names(session, spec.sideload.bundle), spec.sideload.bundle)
    return {
        "metadata": {
            "labels": dict(spec.labels)
            | build_labels(session, spec.command)
            | dict(spec.pod_labels)
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


def _build_container(session: str, spec: ShadowSpec) -> Json:
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
            str(spec.idle_s) if spec.idle_s else "never",
            *_build_exposing(session, spec),
            *(
                build_restoring_arguments(session, spec.namespace, spec.restoring)
                if spec.restoring is not None
                else ()
            ),
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": _build_resources(spec),
    }
    if spec.ports:
        container["ports"] = [
            {"containerPort": port.number, "protocol": "TCP"}
            | ({"name": port.name} if port.name else {})
            for port in spec.ports
        ]
        container["readinessProbe"] = {
            "tcpSocket": {"port": find_health_port(spec.ports)},
            "periodSeconds": 1,
        }
    if direct or spec.ports:
        container["env"] = [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        ]
    return container


def _add_sideload(pod: Json, parts: list[str], bundle: Bundle) -> None:
    """Volumes with the parts and for what comes out of them, and the program that does it."""
    pod["volumes"] = [
        *pod.get("volumes", ()),
        {"name": "parts", "projected": {"sources": [{"configMap": {"name": n}} for n in parts]}},
        {"name": "site", "emptyDir": {"sizeLimit": _SITE_LIMIT}},
    ]
    container = pod["containers"][0]
    container["command"] = ["python3", "-I", "-B", "-c", read_bootstrap()]
    container["args"] = [bundle.digest, bundle.soabi, *container["args"]]
    container["volumeMounts"] = [
        *container.get("volumeMounts", ()),
        {"name": "parts", "mountPath": PARTS, "readOnly": True},
        {"name": "site", "mountPath": SITE},
    ]
    # Its last line says why it refuses what it found.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"


def build_origin_name(session: str) -> str:
    """Of the session's Service for the original pods."""
    return f"{session}-origin"


def _build_exposing(session: str, spec: ShadowSpec) -> list[str]:
    if not spec.ports:
        return []
    # The pod's resolver completes it, whatever the cluster's domain is.
    host = f"{build_origin_name(session)}.{spec.namespace}.svc"
    arguments = {
        "never": "--expose={0}",
        "away": "--expose={0}={1}:{0}",
        "always": "--pass={0}={1}:{0}",
    }
    return [
        *(arguments[port.origin].format(port.number, host) for port in spec.ports),
        "--expose-bind=$(POD_IP)",
        f"--health-port={find_health_port(spec.ports)}",
    ]


def find_health_port(ports: tuple[ShadowPort, ...]) -> int:
    """The usual one, unless the user exposes that."""
    taken = {port.number for port in ports}
    return next(port for port in range(HEALTH_PORT, HEALTH_PORT + 100) if port not in taken)


def _build_resources(spec: ShadowSpec) -> Json:
    if spec.resources:
        # Whoever names them has a quota that wants both.
        return {"requests": dict(spec.resources), "limits": dict(spec.resources)}
    # Requests only: a memory limit would kill the tunnel under load.
    return {"requests": {"cpu": "10m", "memory": "64Mi"}}


def build_lease(
    name: str, namespace: str, holder: str, now: datetime, command: str = "connect"
) -> Json:
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
            "labels": build_labels(name, command),
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "acquireTime": build_micro_time(now),
            "renewTime": build_micro_time(now),
        },
    }


def build_service(
    name: str,
    spec: ShadowSpec,
    session: str,
    selector: dict[str, str],
    service_type: str = "ClusterIP",
) -> Json:
    """A Service of the session's, with a port for each of the shadow's. Its owner is for the caller
    to say."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": spec.namespace,
            "labels": build_labels(session, spec.command),
        },
        "spec": {
            "type": service_type,
            "selector": selector,
            "ports": [
                {
                    "name": port.name or f"tcp-{port.number}",
                    "protocol": "TCP",
                    "port": port.number,
                    "targetPort": port.number,
                }
                for port in spec.ports
            ],
        },
    }


def build_renewal(now: datetime) -> Json:
    """The merge patch of a heartbeat."""
    return {"spec": {"renewTime": build_micro_time(now)}}


def build_micro_time(moment: datetime) -> str:
    """A MicroTime: RFC 3339 with exactly six digits after the point, else the API refuses it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
