"""The JSON types of the fields that the API server reads: all else of an object is kept as it is.

A body of the wrong shape is refused here, so that no later code meets a string where it expects a
list. The words are those of Go's decoder. Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final

STRING: Final = "string"
INT: Final = "int32"
BOOL: Final = "bool"
INT_OR_STRING: Final = "intstr.IntOrString"
MICRO_TIME: Final = "v1.MicroTime"

TIME_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
"""Of a MicroTime: six fractional digits, neither more nor fewer."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{6})?(.*)", re.ASCII | re.DOTALL)
_ZONE = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII)

Shape = str | dict[str, Any] | list[Any]
"""A scalar's Go type; a dict of members (of "*": any) or a list of one shape."""

STRINGS: Final = {"*": STRING}

_META: Shape = {
    "name": STRING,
    "generateName": STRING,
    "namespace": STRING,
    "uid": STRING,
    "resourceVersion": STRING,
    "labels": STRINGS,
    "annotations": STRINGS,
    "finalizers": [STRING],
    "ownerReferences": [
        {"apiVersion": STRING, "kind": STRING, "name": STRING, "uid": STRING, "controller": BOOL}
    ],
}
_HANDLER: dict[str, Shape] = {
    "httpGet": {"path": STRING, "port": INT_OR_STRING, "scheme": STRING},
    "tcpSocket": {"port": INT_OR_STRING},
    "grpc": {"port": INT, "service": STRING},
    "exec": {"command": [STRING]},
}
_PROBE: Shape = {
    **_HANDLER,
    "initialDelaySeconds": INT,
    "timeoutSeconds": INT,
    "periodSeconds": INT,
    "successThreshold": INT,
    "failureThreshold": INT,
}
_CONTAINER: Shape = {
    "name": STRING,
    "image": STRING,
    "command": [STRING],
    "args": [STRING],
    "imagePullPolicy": STRING,
    "env": [{"name": STRING, "value": STRING, "valueFrom": {"fieldRef": {}}}],
    "ports": [{"name": STRING, "containerPort": INT, "protocol": STRING}],
    "resources": {"limits": {"*": INT_OR_STRING}, "requests": {"*": INT_OR_STRING}},
    "volumeMounts": [{"name": STRING, "mountPath": STRING}],
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER},
    "securityContext": {"capabilities": {"add": [STRING], "drop": [STRING]}},
}
_VOLUME: Shape = {
    "name": STRING,
    "configMap": {"name": STRING},
    "secret": {"secretName": STRING},
    "hostPath": {"path": STRING},
    "emptyDir": {},
    "downwardAPI": {},
    "projected": {
        "sources": [
            {
                "serviceAccountToken": {},
                "configMap": {},
                "downwardAPI": {"items": [{"fieldRef": {}}]},
            }
        ]
    },
}
_POD_SPEC: Shape = {
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "ephemeralContainers": [_CONTAINER],
    "volumes": [_VOLUME],
    "restartPolicy": STRING,
    "dnsPolicy": STRING,
    "nodeName": STRING,
    "nodeSelector": STRINGS,
    "serviceAccount": STRING,
    "serviceAccountName": STRING,
    "automountServiceAccountToken": BOOL,
    "terminationGracePeriodSeconds": INT,
    "activeDeadlineSeconds": INT,
    "tolerations": [{"key": STRING}],
    "securityContext": {"sysctls": [{"name": STRING, "value": STRING}]},
}
_SELECTOR: Shape = {
    "matchLabels": STRINGS,
    "matchExpressions": [{"key": STRING, "operator": STRING, "values": [STRING]}],
}
_TEMPLATE: Shape = {"metadata": _META, "spec": _POD_SPEC}
_CONDITIONS: dict[str, Shape] = {"conditions": [{"type": STRING, "status": STRING}]}

_RULE: Shape = {
    "verbs": [STRING],
    "apiGroups": [STRING],
    "resources": [STRING],
    "resourceNames": [STRING],
    "nonResourceURLs": [STRING],
}
_BINDING: dict[str, Shape] = {
    "subjects": [{"kind": STRING, "apiGroup": STRING, "name": STRING, "namespace": STRING}],
    "roleRef": {"apiGroup": STRING, "kind": STRING, "name": STRING},
}
_ACCESS: Shape = {
    "resourceAttributes": {
        **dict.fromkeys(
            ("namespace", "verb", "group", "version", "resource", "subresource", "name"), STRING
        ),
        "fieldSelector": {},
        "labelSelector": {},
    },
    "nonResourceAttributes": STRINGS,
    "user": STRING,
    "groups": [STRING],
    "uid": STRING,
    "extra": {"*": [STRING]},
}

SHAPES: dict[str, dict[str, Shape]] = {
    "ConfigMap": {"data": STRINGS, "binaryData": STRINGS, "immutable": BOOL},
    "Deployment": {
        "spec": {
            "replicas": INT,
            "minReadySeconds": INT,
            "selector": _SELECTOR,
            "template": _TEMPLATE,
            "strategy": {"type": STRING, "rollingUpdate": {}},
        },
        "status": {**_CONDITIONS, "replicas": INT},
    },
    "EndpointSlice": {
        "addressType": STRING,
        "endpoints": [{"addresses": [STRING], "conditions": {}}],
        "ports": [{"name": STRING, "port": INT, "protocol": STRING}],
    },
    "Endpoints": {
        "subsets": [{"addresses": [{"ip": STRING}], "ports": [{"port": INT, "protocol": STRING}]}]
    },
    "Event": {"involvedObject": {"namespace": STRING}, "source": {"component": STRING}},
    "Job": {
        "spec": {
            "parallelism": INT,
            "completions": INT,
            "activeDeadlineSeconds": INT,
            "backoffLimit": INT,
            "ttlSecondsAfterFinished": INT,
            "suspend": BOOL,
            "manualSelector": BOOL,
            "selector": _SELECTOR,
            "template": _TEMPLATE,
        },
        "status": {**_CONDITIONS, "active": INT, "succeeded": INT, "failed": INT},
    },
    "Lease": {
        "spec": {
            "holderIdentity": STRING,
            "leaseDurationSeconds": INT,
            "leaseTransitions": INT,
            "acquireTime": MICRO_TIME,
            "renewTime": MICRO_TIME,
        }
    },
    "Namespace": {"spec": {"finalizers": [STRING]}, "status": {"phase": STRING}},
    "Node": {
        "spec": {"podCIDR": STRING, "podCIDRs": [STRING], "unschedulable": BOOL},
        "status": _CONDITIONS,
    },
    "Pod": {
        "spec": _POD_SPEC,
        "status": {
            **_CONDITIONS,
            "phase": STRING,
            "podIP": STRING,
            "containerStatuses": [{"name": STRING, "state": {}, "lastState": {}}],
        },
    },
    "Secret": {"data": STRINGS, "stringData": STRINGS, "type": STRING, "immutable": BOOL},
    "ClusterRole": {"rules": [_RULE]},
    "ClusterRoleBinding": _BINDING,
    "Role": {"rules": [_RULE]},
    "RoleBinding": _BINDING,
    "LocalSubjectAccessReview": {"spec": _ACCESS},
    "SelfSubjectAccessReview": {"spec": _ACCESS},
    "SubjectAccessReview": {"spec": _ACCESS},
    "SelfSubjectReview": {},
    "SelfSubjectRulesReview": {"spec": {"namespace": STRING}},
    "TokenReview": {"spec": {"token": STRING, "audiences": [STRING]}},
    "TokenRequest": {
        "spec": {
            "audiences": [STRING],
            "expirationSeconds": INT,
            "boundObjectRef": {"kind": STRING, "apiVersion": STRING, "name": STRING, "uid": STRING},
        }
    },
    "Service": {
        "spec": {
            "type": STRING,
            "clusterIP": STRING,
            "clusterIPs": [STRING],
            "externalName": STRING,
            "selector": STRINGS,
            "sessionAffinity": STRING,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": INT}},
            "ipFamilies": [STRING],
            "ipFamilyPolicy": STRING,
            "ports": [
                {
                    "name": STRING,
                    "port": INT,
                    "protocol": STRING,
                    "targetPort": INT_OR_STRING,
                    "nodePort": INT,
                }
            ],
        }
    },
    "ServiceAccount": {"automountServiceAccountToken": BOOL},
    "ServiceCIDR": {"spec": {"cidrs": [STRING]}},
    "Scale": {"spec": {"replicas": INT}},
}
SHAPES["ReplicaSet"] = SHAPES["Deployment"]


class Undecodable(Exception):
    """An object that does not have its kind's shape; says why in the words of Go's decoder."""


def check_shape(kind: str, obj: Any) -> None:
    """Raises Undecodable where a field of an object is of the wrong type."""
    _check(kind, "", obj, {"metadata": _META, "kind": STRING, "apiVersion": STRING, **SHAPES[kind]})


def _check(kind: str, path: str, value: Any, shape: Shape) -> None:
    if value is None:
        return
    if isinstance(shape, str):
        if not _fits(value, shape):
            raise _mismatch(kind, path, value, shape)
        if shape == MICRO_TIME:
            _check_time(value)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _mismatch(kind, path, value, "[]object")
        for each in value:
            if each is None:
                raise Undecodable(f"{kind}{path} holds a null")
            _check(kind, path, each, shape[0])
    else:
        if not isinstance(value, dict):
            raise _mismatch(kind, path, value, "object")
        for key, each in value.items():
            inner = shape.get("*", shape.get(key))
            if inner is not None:
                # Go names the map's field, not the key within it.
                below = path if "*" in shape else f"{path}.{key}"
                _check(kind, below, each, inner)


def _fits(value: Any, shape: str) -> bool:
    if shape in {STRING, MICRO_TIME}:
        return isinstance(value, str)
    if shape == BOOL:
        return isinstance(value, bool)
    number = isinstance(value, int) and not isinstance(value, bool)
    return number or (shape == INT_OR_STRING and isinstance(value, str))


def _mismatch(kind: str, path: str, value: Any, wanted: str) -> Undecodable:
    found = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}
    return Undecodable(
        f"json: cannot unmarshal {found.get(type(value), 'object')} into Go struct field "
        f"{kind}{path} of type {wanted}"
    )


def _check_time(text: str) -> None:
    """A MicroTime, as Go's time.Parse reads it."""
    match = _TIME.fullmatch(text)
    rest, part = text, "2006"
    if match is not None:
        _, fraction, rest = match.groups()
        part = ".000000" if fraction is None else "Z07:00"
        if fraction is not None and _ZONE.fullmatch(rest):
            return
    raise Undecodable(
        f'parsing time "{text}" as "{TIME_LAYOUT}": cannot parse "{rest}" as "{part}"'
    )
