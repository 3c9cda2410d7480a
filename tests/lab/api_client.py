"""Requests to a lab's API server, from wherever the test is."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from ktnet.lab.harness import Lab


class Refused(OSError):
    """By the API server: the status is its errno, and its words follow.

    Unlike an HTTPError it holds no connection, and may leave the process that it arose in.
    """


def request(method: str, kubeconfig: str, path: str, body: Any = None) -> Any:
    """One request to the lab's API server; returns its JSON, or its text where it is none.

    Raises Refused where the server refuses it.
    """
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    patch = "merge-patch+" if method == "PATCH" else ""
    message = urllib.request.Request(
        cluster["server"] + path,
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={
            "Authorization": f"Bearer {config['users'][0]['user']['token']}",
            "Content-Type": f"application/{patch}json",
        },
    )
    context = ssl.create_default_context(cadata=authority)
    try:
        with urllib.request.urlopen(message, timeout=10, context=context) as response:
            answer = response.read()
            is_json = response.headers.get_content_type() == "application/json"
    except urllib.error.HTTPError as error:
        raise Refused(error.code, f"{method} {path}: {error.read().decode()}") from None
    return json.loads(answer) if is_json else answer.decode()


def ask(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    """The same from a laptop of the lab, with all rights."""
    return lab.call(request, method, str(lab.directory / "kubeconfig"), path, body)


GROUPS = {
    **dict.fromkeys(("pods", "services", "serviceaccounts", "configmaps"), "/api/v1"),
    **dict.fromkeys(("deployments", "statefulsets"), "/apis/apps/v1"),
    **dict.fromkeys(("roles", "rolebindings"), "/apis/rbac.authorization.k8s.io/v1"),
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
}
"""Where kinds of objects are."""


def list_objects(
    lab: Lab, *kinds: str, namespace: str = "demo", labels: str = ""
) -> dict[str, list[dict[str, Any]]]:
    """All objects of these kinds, whole, in a tenth of the time that kubectl takes."""
    paths = {
        kind: f"{GROUPS[kind]}/namespaces/{namespace}/{kind}?labelSelector={quote(labels)}"
        for kind in kinds
    }
    return dict(lab.call(_read_all, str(lab.directory / "kubeconfig"), paths))


def _read_all(kubeconfig: str, paths: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    return {kind: request("GET", kubeconfig, path)["items"] for kind, path in paths.items()}


def read_object(lab: Lab, kind: str, name: str) -> dict[str, Any]:
    """One of them; of the demo's namespace. Raises Refused where it isn't there."""
    return dict(ask(lab, "GET", f"{GROUPS[kind]}/namespaces/demo/{kind}/{name}"))
