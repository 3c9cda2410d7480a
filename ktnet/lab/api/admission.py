"""Checks of a new object that look at others: namespaces, ServiceAccounts. Pure.

The admission plugins NamespaceLifecycle, ServiceAccount and LimitRanger
(kubernetes.io/docs/reference/access-authn-authz/admission-controllers/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ktnet.lab.api.errors import Obj, forbidden, not_found
from ktnet.lab.api.limitrange import default_resources
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.strategies.pod import mount_token, quality_of_service

UNDYING = frozenset({"default", "kube-system", "kube-public"})


Admit = Callable[[Obj, Obj | None], None]
"""Asked about what is to be written, with what it replaces; raises ApiError to refuse it."""


def admit_all(new: Obj, old: Obj | None) -> None:
    """For those who may write anything: controllers and the kubelet."""


def as_it_is(patched: Obj) -> Obj:
    """For those who only write fields that there are: controllers and the kubelet."""
    return patched


def check_namespace(
    namespaces: Mapping[tuple[str, str], Obj],
    resource: Resource,
    namespace: str | None,
    name: str,
) -> None:
    """A new object needs a namespace that is there and stays; raises ApiError 404 or 403."""
    found = namespaces.get(("", namespace or ""))
    if found is None:
        raise not_found("", "namespaces", namespace or "")
    if "deletionTimestamp" in found["metadata"]:
        why = (
            f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        error = forbidden(resource.group, resource.plural, name, why)
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        error.details = {**(error.details or {}), "causes": [cause]}
        raise error


def admit_pod(accounts: Mapping[tuple[str, str], Obj], ranges: Iterable[Obj], pod: Obj) -> None:
    """The pod's ServiceAccount must exist; its token is mounted unless somebody said no.

    What it doesn't say of its resources, the namespace's LimitRanges do.
    """
    meta, spec = pod["metadata"], pod["spec"]
    namespace, name = meta["namespace"], spec["serviceAccountName"]
    account = accounts.get((namespace, name))
    if account is None:
        why = (
            f"error looking up service account {namespace}/{name}: "
            f'serviceaccount "{name}" not found'
        )
        raise forbidden("", "pods", meta.get("name", ""), why)
    wanted = account.get("automountServiceAccountToken", True)
    if spec.get("automountServiceAccountToken", wanted):
        mount_token(spec)
    default_resources(ranges, pod)
    pod["status"]["qosClass"] = quality_of_service(spec)


def check_deletable(resource: Resource, name: str) -> None:
    if resource.plural == "namespaces" and name in UNDYING:
        raise forbidden("", "namespaces", name, "this namespace may not be deleted")
