"""What lets a shadow put back by itself what was taken: its account and its arguments, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.shadow.account import build_account_objects
from ktnet.wire.apipaths import find_group
from ktnet.wire.record import Mode

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Restoring:
    """What is put back when the laptop doesn't return."""

    plural: str
    name: str
    mode: Mode
    pull_secrets: tuple[str, ...] = ()
    """Of the namespace's default account, which the pod has no more."""


def build_restoring_arguments(session: str, namespace: str, restoring: Restoring) -> list[str]:
    """For `ktnet.shadow.arguments`."""
    return [
        f"--restore={restoring.plural}/{namespace}/{restoring.name}",
        f"--restore-mode={restoring.mode}",
        f"--session={session}",
    ]


def build_restoring_account(
    session: str, namespace: str, labels: Mapping[str, str], restoring: Restoring
) -> list[tuple[str, Json]]:
    """(plural, object) of all that it takes, called as the session is.

    It may read and patch that one object. Not its `scale`: the undo begins with a test of the
    annotation, which a scale hasn't got.
    """
    rule = {
        "apiGroups": [find_group(restoring.plural)],
        "resources": [restoring.plural],
        "resourceNames": [restoring.name],
        "verbs": ["get", "patch"],
    }
    secrets = [{"name": each} for each in restoring.pull_secrets]
    return build_account_objects(session, namespace, labels, [rule], secrets)
