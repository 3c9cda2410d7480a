"""ResourceQuotas: what a namespace's objects use, and whether one more may be made. Pure.

kubernetes.io/docs/concepts/policy/resource-quotas/; the rules and the words are those of
k8s.io/apiserver/pkg/admission/plugin/resourcequota and pkg/quota/v1/evaluator/core. Used is counted
from what is there, not from the quota's status, which may lag behind in a real cluster.
"""

from __future__ import annotations

from collections.abc import Callable

from ktnet.lab.api.catalog import Catalog
from ktnet.lab.api.errors import Obj, forbidden
from ktnet.lab.api.quantity import add_quantities, parse_quantity
from ktnet.lab.api.resources import Resource

List = Callable[[str], list[Obj]]
"""The objects of a kind (by its key in the catalog) in the quota's namespace."""

Amounts = dict[str, str]
"""Quantities by the name that a quota gives them."""

COMPUTE = ("cpu", "memory", "ephemeral-storage")
COUNTED = {
    "pods": "pods",
    "configmaps": "configmaps",
    "resourcequotas": "resourcequotas",
    "secrets": "secrets",
    "services": "services",
}
"""Kinds that are counted under their bare name as well as under count/NAME."""


def check_quotas(resource: Resource, obj: Obj, catalog: Catalog, list_objects: List) -> None:
    """Raises ApiError 403 where a quota forbids a new object of that resource."""
    name = obj["metadata"].get("name", "")
    for quota in list_objects("resourcequotas"):
        if resource.plural == "pods" and not _is_in_scope(quota, obj):
            continue
        adds = measure(resource, obj)
        hard = {key: str(value) for key, value in (quota["spec"].get("hard") or {}).items()}
        covered = sorted(hard.keys() & adds.keys())
        if resource.plural == "pods":
            missing = find_unsaid(hard, obj)
            if missing:
                why = f"failed quota: {quota['metadata']['name']}: must specify {missing}"
                raise forbidden(resource.group, resource.plural, name, why)
        used = count_used(quota, catalog, list_objects)
        over = [
            key
            for key in covered
            if parse_quantity(adds[key])
            and parse_quantity(used[key]) + parse_quantity(adds[key]) > parse_quantity(hard[key])
        ]
        if over:
            why = (
                f"exceeded quota: {quota['metadata']['name']}, requested: {_say(adds, over)}, "
                f"used: {_say(used, over)}, limited: {_say(hard, over)}"
            )
            raise forbidden(resource.group, resource.plural, name, why)


def count_used(quota: Obj, catalog: Catalog, list_objects: List) -> Amounts:
    """How much of each of the quota's bounds is taken."""
    hard = quota["spec"].get("hard") or {}
    used = dict.fromkeys(hard, "0")
    for key in hard:
        kind = catalog.find_stored(*_read_counted(key))
        if kind:
            found = list_objects(kind)
            used[key] = str(len([each for each in found if not _is_over(key, each)]))
    for pod in list_objects("pods"):
        if _is_ended(pod) or not _is_in_scope(quota, pod):
            continue
        for key, value in measure_compute(pod).items():
            if key in used:
                used[key] = add_quantities(used[key], value)
    return used


def _read_counted(key: str) -> tuple[str, str]:
    """The plural name and group that a bound counts objects of; ("", "") where it measures."""
    if key.startswith("count/"):
        plural, _, group = key.removeprefix("count/").partition(".")
        return plural, group
    return COUNTED.get(key, ""), ""


def _is_over(key: str, obj: Obj) -> bool:
    """`pods` are those that run or will; count/pods are all that are stored."""
    return key == "pods" and _is_ended(obj)


def _is_ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def measure(resource: Resource, obj: Obj) -> Amounts:
    """What an object takes of each bound that a quota may have."""
    group = f".{resource.group}" if resource.group else ""
    amounts = {f"count/{resource.plural}{group}": "1"}
    if not resource.group and resource.plural in COUNTED:
        amounts[resource.plural] = "1"
    if resource.plural == "pods" and not resource.group:
        amounts |= measure_compute(obj)
    return amounts


def measure_compute(pod: Obj) -> Amounts:
    """A pod's requests and limits: of all containers together, or the largest init container's."""
    spec = pod["spec"]
    amounts: Amounts = {}
    for part, prefixes in (("requests", ("requests.", "")), ("limits", ("limits.",))):
        for kind in COMPUTE:
            total = add_quantities(
                *(_amount(each, part, kind) for each in spec.get("containers") or [])
            )
            for each in spec.get("initContainers") or []:
                first = _amount(each, part, kind)
                total = first if parse_quantity(first) > parse_quantity(total) else total
            amounts |= {prefix + kind: total for prefix in prefixes}
    return amounts


def _amount(container: Obj, part: str, kind: str) -> str:
    return str(((container.get("resources") or {}).get(part) or {}).get(kind, "0"))


def find_unsaid(hard: Amounts, pod: Obj) -> str:
    """Bounds on cpu and memory which a container has to state and doesn't, as the error says it."""
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"].get("containers", [])]
    said = []
    for key in sorted(hard):
        part, _, kind = key.rpartition(".")
        if kind not in {"cpu", "memory"} or part not in {"", "requests", "limits"}:
            continue
        silent = [
            each["name"]
            for each in containers
            if kind not in ((each.get("resources") or {}).get(part or "requests") or {})
        ]
        if silent:
            said.append(f"{key} for: {','.join(sorted(silent))}")
    return "; ".join(said)


def _is_in_scope(quota: Obj, pod: Obj) -> bool:
    deadline = pod["spec"].get("activeDeadlineSeconds") is not None
    best_effort = not any(parse_quantity(value) for value in measure_compute(pod).values())
    holds = {
        "Terminating": deadline,
        "NotTerminating": not deadline,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
    }
    return all(holds.get(scope, False) for scope in quota["spec"].get("scopes") or [])


def _say(amounts: Amounts, keys: list[str]) -> str:
    return ",".join(f"{key}={amounts[key]}" for key in keys)
