"""The kubeconfig by which a lab's API server is reached."""

from __future__ import annotations

import base64
import os
from pathlib import Path

USER = "developer"


def build_kubeconfig(
    *,
    lab: str,
    server: str,
    ca_pem: str,
    token: str = "",
    user: str = USER,
    certificate_pem: str = "",
    key_pem: str = "",
) -> str:
    """A kubeconfig (YAML) with one cluster, one user and one context.

    The user comes with a token, or with a certificate and its key.
    """
    authority = _encode(ca_pem)
    if token:
        credentials = f"token: {token}"
    else:
        credentials = (
            f"client-certificate-data: {_encode(certificate_pem)}\n"
            f"    client-key-data: {_encode(key_pem)}"
        )
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: ktnet-lab-{lab}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {user}
  user:
    {credentials}
contexts:
- name: ktnet-lab-{lab}
  context:
    cluster: ktnet-lab-{lab}
    user: {user}
current-context: ktnet-lab-{lab}
"""


def _encode(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner reads, never seen half written."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.rename(path)
