"""What a laptop and its cluster look like: to compare before with after.

Taken inside a lab's laptop (`Lab.census`). Holds links, addresses, routes, rules,
the resolver's files, the names of all objects that ktnet could leave behind, and where `tomcat`
is. What changes by itself (counters, lifetimes) is left out.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml

FILES = ("/etc/resolv.conf", "/etc/hosts")
COLLECTIONS = {
    "jobs": "/apis/batch/v1/jobs",
    "leases": "/apis/coordination.k8s.io/v1/leases",
    "pods": "/api/v1/pods",
    "services": "/api/v1/services",
    "secrets": "/api/v1/secrets",
    "configmaps": "/api/v1/configmaps",
    "serviceaccounts": "/api/v1/serviceaccounts",
}


def take_census(kubeconfig: Path) -> dict[str, Any]:
    """Everything at this moment; raises OSError where the API server can't be reached."""
    get = open_api(kubeconfig)
    objects = {kind: get(path)["items"] for kind, path in COLLECTIONS.items()}
    service = next(s for s in objects["services"] if s["metadata"]["name"] == "tomcat")
    pod = next(
        p
        for p in objects["pods"]
        if p["metadata"].get("labels", {}).items() >= service["spec"]["selector"].items()
    )
    return {
        **{what: ip(*what.split()) for what in ("link", "address", "route", "rule")},
        **{path: file_state(Path(path)) for path in FILES},
        **{kind: sorted(names(items)) for kind, items in objects.items()},
        "tomcat": {
            "clusterIP": service["spec"]["clusterIP"],
            "podIP": pod["status"]["podIP"],
            "podName": pod["metadata"]["name"],
        },
    }


def ip(what: str) -> Any:
    """`ip -json WHAT show`, of all tables."""
    table = ["table", "all"] if what == "route" else []
    command = ["ip", "-json", "-family", "inet", what, "show", *table]
    if what == "link":
        command = ["ip", "-json", "link", "show"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output or "[]")


def file_state(path: Path) -> dict[str, Any]:
    """Bytes, identity and rights of a file."""
    status = path.stat()
    return {
        "text": path.read_text(),
        "inode": [status.st_dev, status.st_ino],
        "mode": oct(status.st_mode),
        "owner": [status.st_uid, status.st_gid],
    }


def names(items: list[dict[str, Any]]) -> list[str]:
    return [f"{i['metadata']['namespace']}/{i['metadata']['name']}" for i in items]


def open_api(kubeconfig: Path) -> Any:
    """A function that GETs a path of the API server that the lab's kubeconfig names."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=ca)),
    )

    def get(path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 -- https, from our own kubeconfig
            cluster["server"] + path, headers={"Authorization": f"Bearer {user['token']}"}
        )
        with opener.open(request, timeout=10) as response:
            return json.load(response)

    return get
