"""Requests to a lab's API server, from wherever the test is."""

import base64
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import yaml


def request(method: str, kubeconfig: str, path: str, body: Any = None) -> Any:
    """One request to the lab's API server, whose JSON it returns."""
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
    with urllib.request.urlopen(message, timeout=10, context=context) as response:
        return json.load(response)
