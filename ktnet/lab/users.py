"""Users of a lab who may do just what they were given: `ktnet lab user`.

A user is a token (or a client certificate), and Roles that are bound to it: real objects of the
cluster, which anybody may look at, change and take away.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ktnet.lab.api.authentication import User
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.api.tls import Certificates
from ktnet.lab.kubeconfig import build_kubeconfig, write_private

Obj = dict[str, Any]

LABEL = "ktnet-lab-user"
"""On the roles and bindings that came with a user: the same user anew takes their place."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_BINDINGS = {"Role": "RoleBinding", "ClusterRole": "ClusterRoleBinding"}
_PLURALS = {
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}


class Users:
    """Makes users of one lab."""

    def __init__(
        self,
        store: Store,
        tokens: dict[str, User],
        certificates: Certificates,
        directory: Path,
        *,
        lab: str,
        server: str,
    ) -> None:
        """`tokens` is the API server's own table; kubeconfigs go into `directory`."""
        self._store = store
        self._tokens = tokens
        self._certificates = certificates
        self._directory = directory
        self._lab = lab
        self._server = server

    def add(
        self, name: str, *, roles: list[Obj], groups: list[str], namespace: str, certificate: bool
    ) -> Path:
        """The kubeconfig of a new user, who has these Roles and ClusterRoles and no other right.

        Of a name that is there already, the old rights and token end (a certificate doesn't).
        Raises ValueError.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a user: lower-case letters, digits and '-'")
        plans = [
            plan
            for number, role in enumerate(roles)
            for plan in _plan(name, number, role, namespace)
        ]
        self._remove(name)
        try:
            for plural, where, obj in plans:
                self._store.create(plural, where, obj)
        except ApiError as error:
            self._remove(name)
            raise ValueError(error.message) from error
        credentials = {}
        if certificate:
            pair = self._certificates.issue_client(name, groups)
            credentials = {"certificate_pem": pair[0], "key_pem": pair[1]}
        else:
            credentials = {"token": secrets.token_urlsafe(32)}
            self._tokens[credentials["token"]] = User(name, tuple(groups))
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{name}.kubeconfig"
        write_private(
            path,
            build_kubeconfig(
                lab=self._lab,
                server=self._server,
                ca_pem=self._certificates.ca_pem,
                user=name,
                **credentials,
            ),
        )
        return path

    def _remove(self, name: str) -> None:
        for plural in ("clusterrolebindings", "rolebindings", "clusterroles", "roles"):
            for obj in self._store.list(plural, labels={LABEL: name}):
                meta = obj["metadata"]
                self._store.delete(plural, meta.get("namespace"), meta["name"])
        for token in [token for token, user in self._tokens.items() if user.name == name]:
            del self._tokens[token]


def _plan(name: str, number: int, role: Obj, namespace: str) -> list[tuple[str, str | None, Obj]]:
    """(plural, namespace, object) of a role and of its binding to the user; raises ValueError."""
    kind = role.get("kind", "Role")
    if kind not in _BINDINGS:
        raise ValueError(f"a user gets a Role or a ClusterRole, not a {kind}")
    given = role.get("metadata") or {}
    where = (given.get("namespace") or namespace) if kind == "Role" else None
    meta = {"name": f"ktnet-lab-{name}-{number}", "labels": {LABEL: name}}
    api_group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": meta,
        "roleRef": {"apiGroup": api_group, "kind": kind, "name": meta["name"]},
        "subjects": [{"apiGroup": api_group, "kind": "User", "name": name}],
    }
    return [
        (_PLURALS[kind], where, {"metadata": meta, "rules": role.get("rules") or []}),
        (_PLURALS[_BINDINGS[kind]], where, binding),
    ]


def build_user_handler(users: Users) -> Callable[[dict[str, Any]], str]:
    """What the control socket's "user" does: the path of the kubeconfig."""

    def add(request: dict[str, Any]) -> str:
        roles, groups = request.get("roles", []), request.get("groups", [])
        if not all(isinstance(each, dict) for each in roles):
            raise ValueError("roles are objects")
        path = users.add(
            str(request.get("user", "")),
            roles=list(roles),
            groups=[str(each) for each in groups],
            namespace=str(request.get("namespace", "demo")),
            certificate=bool(request.get("certificate")),
        )
        return str(path)

    return add
