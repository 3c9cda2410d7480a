"""The actions of 08-authorization/minimal-roles: what was asked with each Role, and a place for it.

The recording names the action in words; here is the request that it stands for.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
JSON = {"Content-Type": "application/json"}
CORE, APPS = "/api/v1/namespaces/{ns}", "/apis/apps/v1/namespaces/{ns}"
BATCH, LEASES = "/apis/batch/v1/namespaces/{ns}", "/apis/coordination.k8s.io/v1/namespaces/{ns}"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{ns}"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

POD_SPEC = {"containers": [{"name": "main", "image": "lab/any:1"}]}
TEMPLATE = {"metadata": {"labels": {"app": "min"}}, "spec": {**POD_SPEC, "restartPolicy": "Never"}}
DEPLOYMENT_SPEC = {
    "selector": {"matchLabels": {"app": "min"}},
    "template": {"metadata": {"labels": {"app": "min"}}, "spec": POD_SPEC},
}
SERVICE_SPEC = {"selector": {"app": "min"}, "ports": [{"port": 80}]}


@dataclass
class Asked:
    """A request; `needs` says what has to be there, and `lacks` what must not."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    needs: tuple[str, str, Any] | None = None
    lacks: tuple[str, str] | None = None


_numbers = itertools.count()


def upgrade(protocol: str) -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "ZKJX3o/3cWAXwYVd633mYw==",
        "Sec-WebSocket-Protocol": protocol,
    }


def build_request(action: str, name) -> Asked:
    """What an action's words stand for; `name` renames. Names of its own where they are free."""
    new = f"fresh-{next(_numbers)}"
    meta = {"metadata": {"name": new}}
    secret, pod = ("secrets", name("m0"), {}), ("pods", name("fwd"), {"spec": POD_SPEC})
    service = ("services", name("minsvc"), {"spec": SERVICE_SPEC})
    deployment = ("deployments", name("mindep"), {"spec": DEPLOYMENT_SPEC})
    lease = ("leases", name("minlease"), {"spec": {}})
    replicas = {"spec": {"replicas": 0}}
    selector = {"spec": {"selector": {"version": "1"}}}
    forward = f"{CORE}/pods/{name('fwd')}/portforward?ports=7001"
    part = f"{CORE}/pods/{name('fwd')}/ephemeralcontainers"
    debugger = {"spec": {"ephemeralContainers": [{"name": new, "image": "lab/any:1"}]}}
    service_object = {"apiVersion": "v1", "kind": "Service", "spec": SERVICE_SPEC}

    def apply(service_name: str, **places: Any) -> Asked:
        path = f"{CORE}/services/{service_name}?fieldManager=min"
        body = {**service_object, "metadata": {"name": service_name}}
        return Asked("PATCH", path, body, APPLY, **places)

    def put_lease(lease_name: str, **places: Any) -> Asked:
        body = {"metadata": {"name": lease_name}, "spec": {}}
        return Asked("PUT", f"{LEASES}/leases/{lease_name}", body, **places)

    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u"}
    owner["blockOwnerDeletion"] = True
    owned = {"metadata": {"name": new, "ownerReferences": [owner]}, "spec": POD_SPEC}
    known: list[tuple[str, Asked]] = [
        ("create Secret", Asked("POST", f"{CORE}/secrets", meta)),
        ("get one Secret", Asked("GET", f"{CORE}/secrets/{name('m0')}", needs=secret)),
        ("delete one Secret", Asked("DELETE", f"{CORE}/secrets/{name('m0')}", needs=secret)),
        ("list Secrets with resourceNames in the Role, fieldSelector",
         Asked("GET", f"{CORE}/secrets?fieldSelector=metadata.name%3D{name('m0')}")),
        ("list Secrets", Asked("GET", f"{CORE}/secrets")),
        ("create Job", Asked("POST", f"{BATCH}/jobs", {**meta, "spec": {"template": TEMPLATE}})),
        ("delete Job", Asked("DELETE", f"{BATCH}/jobs/minjob?propagationPolicy=Background",
                             needs=("jobs", "minjob", {"spec": {"template": TEMPLATE}}))),
        ("create Pod with ownerReference", Asked("POST", f"{CORE}/pods", owned)),
        ("create Pod", Asked("POST", f"{CORE}/pods", {**meta, "spec": POD_SPEC})),
        ("get Pod", Asked("GET", f"{CORE}/pods/{name('fwd')}", needs=pod)),
        ("delete Pod", Asked("DELETE", f"{CORE}/pods/{new}",
                             needs=("pods", new, {"spec": POD_SPEC}))),
        ("watch Pods", Asked("GET", f"{CORE}/pods?watch=1&timeoutSeconds=1&labelSelector=a%3Db")),
        ("watch one Pod", Asked("GET", f"{CORE}/pods?watch=1&timeoutSeconds=1&fieldSelector="
                                f"metadata.name%3D{name('fwd')}")),
        ("Pod log", Asked("GET", f"{CORE}/pods/{name('fwd')}/log", needs=pod)),
        ("portforward, WebSocket GET SPDY tunnel",
         Asked("GET", forward, headers=upgrade("SPDY/3.1+portforward.k8s.io"), needs=pod)),
        ("portforward", Asked("GET", forward, headers=upgrade("v4.channel.k8s.io"), needs=pod)),
        ("exec", Asked("GET", f"{CORE}/pods/{name('fwd')}/exec?command=true&stdout=true",
                       headers=upgrade("v5.channel.k8s.io"), needs=pod)),
        ("patch Service selector", Asked("PATCH", f"{CORE}/services/{name('minsvc')}", selector,
                                         MERGE, needs=service)),
        ("merge patch of a Service that does not exist",
         Asked("PATCH", f"{CORE}/services/nosuchsvc", selector, MERGE)),
        ("server-side apply of an existing", apply(name("minsvc"), needs=service)),
        ("server-side apply that creates",
         apply(name("minsvc2"), lacks=("services", name("minsvc2")))),
        ("patch Deployment /scale", Asked("PATCH", f"{APPS}/deployments/{name('mindep')}/scale",
                                          replicas, MERGE, needs=deployment)),
        ("get Deployment /scale", Asked("GET", f"{APPS}/deployments/{name('mindep')}/scale",
                                        needs=deployment)),
        ("patch spec.replicas", Asked("PATCH", f"{APPS}/deployments/{name('mindep')}", replicas,
                                      MERGE, needs=deployment)),
        ("create Lease", Asked("POST", f"{LEASES}/leases", meta)),
        ("PUT Lease that exists", put_lease(name("minlease"), needs=lease)),
        ("PUT Lease that does not exist",
         put_lease(name("minlease5"), lacks=("leases", name("minlease5")))),
        ("patch Lease", Asked("PATCH", f"{LEASES}/leases/{name('minlease')}",
                              {"spec": {"holderIdentity": "x"}}, MERGE, needs=lease)),
        ("get Lease", Asked("GET", f"{LEASES}/leases/{name('minlease')}", needs=lease)),
        ("delete Lease", Asked("DELETE", f"{LEASES}/leases/{name('minlease')}",
                               {"preconditions": {"resourceVersion": "1"}}, needs=lease)),
        ("SelfSubjectAccessReview", Asked("POST", REVIEWS, {"spec": {"resourceAttributes": {}}})),
        ("watch EndpointSlices", Asked("GET", f"{SLICES}/endpointslices?watch=1&timeoutSeconds=1")),
        ("patch ephemeralcontainers", Asked("PATCH", part, debugger, STRATEGIC, needs=pod)),
        ("deletecollection Pods", Asked("DELETE", f"{CORE}/pods?labelSelector=a%3Db")),
        ("GET /version", Asked("GET", "/version")),
        ("GET /apis", Asked("GET", "/apis")),
        ("GET the Namespace", Asked("GET", CORE)),
    ]  # fmt: skip
    return next(asked for words, asked in known if action.startswith(words))


def encode(asked: Asked) -> bytes | None:
    return None if asked.body is None else json.dumps(asked.body).encode()
