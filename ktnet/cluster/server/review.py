"""Asks the API server what we may, before anything is changed.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access: nobody
needs a right to ask for their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ktnet.cluster.rights import Right, describe_rights, find_missing
from ktnet.cluster.server.api import Api
from ktnet.errors import Forbidden
from ktnet.tasks import open_tasks

log = logging.getLogger(__name__)

Json = dict[str, Any]

_API_VERSION = "authorization.k8s.io/v1"


async def require_rights(api: Api, namespace: str, rights: Iterable[Right]) -> None:
    """Raises Forbidden, which names all that are missing, where we surely haven't got them."""
    missing = await list_missing(api, namespace, rights)
    if missing:
        raise Forbidden(
            f"not allowed to {describe_rights(missing, namespace)}",
            hint="docs/rights.md has the Role that ktnet needs",
        )


async def require_namespace(api: Api, namespace: str) -> None:
    """Raises NotFound where there is no such namespace, as far as we may know.

    In one that isn't there, everything that is asked for is just not found; only of what is to be
    made there the server says why. So a Lease is, in a dry run.
    """
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"generateName": "ktnet-"},
    }
    with suppress(Forbidden):
        await api.create("leases", lease, namespace=namespace, dry_run=True)


async def list_missing(api: Api, namespace: str, rights: Iterable[Right]) -> list[Right]:
    """Those of the rights that we have not; none that the server wouldn't tell of.

    One question for all rules that we have there; then one for each right that they don't give,
    since the rules are not all there is (a webhook or the node authoriser has none to show).
    """
    unsure = find_missing(rights, await _list_rules(api, namespace))
    async with open_tasks() as tasks:
        asked = [tasks.create_task(_may(api, namespace, right)) for right in unsure]
        answers = [await each for each in asked]
    return [right for right, may in zip(unsure, answers, strict=True) if not may]


async def _list_rules(api: Api, namespace: str) -> list[Json]:
    question = {"spec": {"namespace": namespace}}
    status = await _ask(api, "SelfSubjectRulesReview", question)
    rules = status.get("resourceRules")
    return rules if isinstance(rules, list) else []


async def _may(api: Api, namespace: str, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": "" if right.whole_cluster else namespace,
    }
    status = await _ask(
        api, "SelfSubjectAccessReview", {"spec": {"resourceAttributes": attributes}}
    )
    return status.get("allowed") is not False


async def _ask(api: Api, kind: str, question: Json) -> Json:
    """The answer's status; empty where the server gives none to us."""
    review = {"apiVersion": _API_VERSION, "kind": kind, **question}
    try:
        status = (await api.create(f"{kind.lower()}s", review)).get("status")
    except Forbidden as error:
        # Not even this: then what we try will tell.
        log.info("%s is refused: %s", kind, error)
        return {}
    return status if isinstance(status, dict) else {}
