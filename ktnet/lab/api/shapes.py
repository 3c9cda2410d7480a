"""The JSON types of the fields that the API server reads, by kind. Pure.

All else of an object is kept as it is; `shapecheck` refuses what has another shape.
"""

from __future__ import annotations

from ktnet.lab.api.shapetypes import (
    BOOL,
    INT,
    INT_OR_STRING,
    MICRO_TIME,
    STRING,
    STRINGS,
    Shape,
)

META: Shape = {
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
_TEMPLATE: Shape = {"metadata": META, "spec": _POD_SPEC}
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
    "CustomResourceDefinition": {
        "spec": {
            "group": STRING,
            "scope": STRING,
            "names": {
                "plural": STRING,
                "singular": STRING,
                "kind": STRING,
                "listKind": STRING,
                "shortNames": [STRING],
                "categories": [STRING],
            },
            "versions": [
                {
                    "name": STRING,
                    "served": BOOL,
                    "storage": BOOL,
                    "schema": {"openAPIV3Schema": {}},
                    "subresources": {"status": {}},
                }
            ],
        },
        "status": _CONDITIONS,
    },
    "ControllerRevision": {"revision": INT},
    "HorizontalPodAutoscaler": {
        "spec": {
            "minReplicas": INT,
            "maxReplicas": INT,
            "scaleTargetRef": {"apiVersion": STRING, "kind": STRING, "name": STRING},
            "metrics": [{"type": STRING}],
        },
        "status": _CONDITIONS,
    },
    "Ingress": {
        "spec": {
            "defaultBackend": {},
            "rules": [{"host": STRING, "http": {"paths": [{"path": STRING, "pathType": STRING}]}}],
        },
        "status": {},
    },
    "IPAddress": {"spec": {"parentRef": {"resource": STRING, "name": STRING}}},
    "PodDisruptionBudget": {
        "spec": {
            "minAvailable": INT_OR_STRING,
            "maxUnavailable": INT_OR_STRING,
            "unhealthyPodEvictionPolicy": STRING,
            "selector": _SELECTOR,
        },
        "status": {**_CONDITIONS, "disruptionsAllowed": INT},
    },
    "ResourceQuota": {
        "spec": {"hard": {"*": INT_OR_STRING}, "scopes": [STRING]},
        "status": {"hard": {"*": INT_OR_STRING}, "used": {"*": INT_OR_STRING}},
    },
    "LimitRange": {
        "spec": {
            "limits": [
                {
                    "type": STRING,
                    "default": {"*": INT_OR_STRING},
                    "defaultRequest": {"*": INT_OR_STRING},
                    "min": {"*": INT_OR_STRING},
                    "max": {"*": INT_OR_STRING},
                    "maxLimitRequestRatio": {"*": INT_OR_STRING},
                }
            ]
        },
    },
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
SHAPES["StatefulSet"] = {
    "spec": {
        **SHAPES["Deployment"]["spec"],  # type: ignore[dict-item]
        "serviceName": STRING,
        "ordinals": {"start": INT},
        "podManagementPolicy": STRING,
        "updateStrategy": {"type": STRING, "rollingUpdate": {"partition": INT}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": STRING, "whenScaled": STRING},
    },
    "status": SHAPES["Deployment"]["status"],
}
