"""The ServiceAccount tokens in a pod's projected volumes: written, and renewed in time.

kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken; when they are renewed is
as k8s.io/kubernetes/pkg/kubelet/token/token_manager.go: after 80% of their lifetime, and after a
day at the latest. Owner and mode as pkg/volume/projected/projected.go: where all containers run as
one user, that user's alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Obj = dict[str, Any]

RENEWED_AFTER = 0.8
"""Of a token's lifetime."""
MOST_AGE_S = 24 * 3600.0
DEFAULT_LIFETIME_S = 3600
PRIVATE_MODE = 0o600

IssueToken = Callable[[Obj, list[str], int], str]
"""A token for a pod, some audiences and a lifetime in seconds; raises Refusal."""


@dataclass(frozen=True)
class TokenFile:
    """A file that a pod asks for."""

    volume: str
    path: str
    audiences: tuple[str, ...]
    lifetime_s: int
    mode: int
    owner: int | None
    """The user id that it belongs to; None for root."""

    @property
    def renewed_after_s(self) -> float:
        return min(self.lifetime_s * RENEWED_AFTER, MOST_AGE_S)


def list_token_files(pod: Obj) -> Iterator[TokenFile]:
    owner = find_common_user(pod["spec"])
    for volume in pod["spec"].get("volumes") or ():
        projected = volume.get("projected") or {}
        mode = PRIVATE_MODE if owner is not None else projected.get("defaultMode", 0o644)
        for source in projected.get("sources") or ():
            token = source.get("serviceAccountToken")
            if token is not None:
                audience = token.get("audience")
                yield TokenFile(
                    volume["name"],
                    token["path"],
                    (audience,) if audience else (),
                    token.get("expirationSeconds") or DEFAULT_LIFETIME_S,
                    mode,
                    owner,
                )


def find_common_user(spec: Obj) -> int | None:
    """The user id that all containers of a pod run as by their spec, if they do."""
    whole = (spec.get("securityContext") or {}).get("runAsUser")
    users = {
        (container.get("securityContext") or {}).get("runAsUser", whole)
        for which in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(which) or ()
    }
    (first, *others) = users or {None}
    return first if not others else None


def write_token(file: Path, token: str, wanted: TokenFile) -> None:
    """Never seen half written, nor for a moment by others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"..{file.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_MODE)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(token)
        if wanted.owner is not None:
            os.fchown(descriptor, wanted.owner, -1)
        os.fchmod(descriptor, wanted.mode)
    part.rename(file)
