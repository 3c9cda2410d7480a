"""Nobody grants what they haven't got: the check of a write of a role or a binding.

As the policybased storages of k8s.io/kubernetes/pkg/registry/rbac/{role,rolebinding,...} do it;
kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from ktnet.lab.api.authentication import MASTERS
from ktnet.lab.api.authorization import Attributes, Caller
from ktnet.lab.api.errors import Obj, forbidden
from ktnet.lab.api.rbac.authorizer import Rbac, Roles, locate_role
from ktnet.lab.api.rbac.coverage import describe_missing, list_missing, quote_list
from ktnet.lab.api.resources import Resource

RBAC_GROUP = "rbac.authorization.k8s.io"
ROLES = frozenset({"roles", "clusterroles"})
BINDINGS = frozenset({"rolebindings", "clusterrolebindings"})


def check_escalation(
    caller: Caller, roles: Roles, resource: Resource, new: Obj, old: Obj | None
) -> None:
    """Raises ApiError 403, or 404 for a binding to a role that is not there."""
    if resource.group != RBAC_GROUP or MASTERS in caller.user.groups:
        return
    if old is not None and _only_collected(new, old):
        return
    namespace = new["metadata"].get("namespace") or ""
    if resource.plural in ROLES:
        verb, plural, name = "escalate", resource.plural, new["metadata"].get("name", "")
    else:
        plural, _, name = locate_role(new)
        verb = "bind"
    if caller.may(Attributes(verb, RBAC_GROUP, plural, namespace=namespace, name=name)):
        return
    if resource.plural in ROLES:
        rules = new.get("rules") or []
    else:
        rules = roles.get(*locate_role(new)).get("rules") or []
    held = [grant.rule for grant in Rbac(roles).list_grants(caller.user, namespace)]
    missing = list_missing(held, rules)
    if missing:
        why = (
            f'user "{caller.user.name}" (groups={quote_list(caller.user.groups)}) is attempting to '
            f"grant RBAC permissions not currently held:\n{describe_missing(missing)}"
        )
        raise forbidden(RBAC_GROUP, resource.plural, new["metadata"].get("name", ""), why)


def _only_collected(new: Obj, old: Obj) -> bool:
    """A change of owners and finalizers alone: what garbage collection has to be able to do."""

    def rest(obj: Obj) -> Obj:
        skipped = {"ownerReferences", "finalizers", "managedFields"}
        meta = {key: value for key, value in obj["metadata"].items() if key not in skipped}
        return {**obj, "metadata": meta}

    return rest(new) == rest(old)
