"""An account for pods of ours: a ServiceAccount of its own, with a Role of just these rules.

It is only made where its user may give those rights away, which the API server alone can tell: an
access review may say yes where the check for escalation says no
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.errors import Forbidden, NotFound
from ktnet.wire.shadow import ACCOUNT

log = logging.getLogger(__name__)

Json = dict[str, Any]

ACCOUNT_PLURALS = ("serviceaccounts", "roles", "rolebindings")
"""What an account is made of, in the order in which it is made."""

_RBAC = "rbac.authorization.k8s.io"

_TOKEN_LIFETIME_S = 3600
"""The kubelet has another one there long before."""


def build_account_objects(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    rules: Iterable[Json],
    pull_secrets: Iterable[Json] = (),
) -> list[tuple[str, Json]]:
    """(plural, object) of all that it takes, in the order in which they are to be made.

    They are all called `name`. Their owner is for the caller to say.
    """
    metadata: Json = {"name": name, "namespace": namespace, "labels": dict(labels)}
    account: Json = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": dict(metadata),
        "automountServiceAccountToken": False,
    }
    if secrets := list(pull_secrets):
        account["imagePullSecrets"] = secrets
    role = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": dict(metadata),
        "rules": list(rules),
    }
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    return list(zip(ACCOUNT_PLURALS, (account, role, binding), strict=True))


def build_account_volume() -> Json:
    """The account's token, which the kubelet renews, and whom to trust: as a projected volume.
    https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken"""
    authority = {
        "name": "kube-root-ca.crt",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_LIFETIME_S}},
        {"configMap": authority},
    ]
    return {"name": "account", "projected": {"sources": sources}}


def build_account_mount() -> Json:
    """Where a container has it."""
    return {"name": "account", "mountPath": ACCOUNT, "readOnly": True}


async def may_make_account(api: Api, namespace: str, objects: Iterable[tuple[str, Json]]) -> bool:
    """Whether all of them would be taken. Raises ClusterUnreachable."""
    for plural, obj in objects:
        try:
            await api.create(plural, obj, namespace=namespace, dry_run=True)
        except (Forbidden, Refused) as error:
            log.info("no account for the shadow: %s", error)
            return False
        except NotFound as error:
            # Who may create RoleBindings, and has no right to bind any Role, is asked what the
            # Role gives. It isn't there yet, and what it will give was asked for just before.
            if plural != "rolebindings":
                raise
            log.debug("as good as yes: %s", error)
    return True


async def read_pull_secrets(api: Api, namespace: str) -> list[Json]:
    """Those of the account that pods have who name none: without them some images can't be had.

    Empty where that can't be read.
    """
    with suppress(Forbidden, NotFound, Refused):
        account = await api.get("serviceaccounts", "default", namespace=namespace)
        secrets = account.get("imagePullSecrets")
        return secrets if isinstance(secrets, list) else []
    return []
