"""A pod's own account: where a process inside the cluster finds its API server.

https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

from __future__ import annotations

import os
from pathlib import Path

from ktnet.cluster.kubeconfig.choose import Choice
from ktnet.cluster.kubeconfig.model import Cluster, User
from ktnet.errors import UsageError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def is_in_cluster() -> bool:
    """Whether this is a process of a pod."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def choose_own_account() -> Choice:
    """The pod's cluster, account and namespace. Raises UsageError where it has no account."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    token = ACCOUNT / "token"
    if not token.exists():
        raise UsageError(
            f"this pod has no usable service account: {token} does not exist",
            hint="set automountServiceAccountToken, or give a kubeconfig",
        )
    return Choice(
        context="",
        namespace=os.environ.get("POD_NAMESPACE") or _read_namespace() or "default",
        cluster=Cluster(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            certificate_authority=str(ACCOUNT / "ca.crt"),
        ),
        user=User(token_file=str(token)),
    )


def _read_namespace() -> str:
    try:
        return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
