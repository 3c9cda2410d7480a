"""Which rights each command takes, and what is lost without those that it can do without: pure.

docs/rights.md shows the same as YAML; https://kubernetes.io/docs/reference/access-authn-authz/rbac/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from ktnet.wire.apipaths import find_group

Json = dict[str, Any]

Command = Literal["connect", "exchange", "mesh", "run"]


@dataclass(frozen=True, slots=True)
class Right:
    """To do something with a kind of object."""

    verb: str
    resource: str
    """Plural, with its subresource where it is about that: "pods/log"."""
    whole_cluster: bool = False
    """In all namespaces, or of a kind that is in none; else in the session's namespace."""

    @property
    def group(self) -> str:
        """Of the resource; empty for the core."""
        return find_group(self.resource.partition("/")[0])


@dataclass(frozen=True, slots=True)
class Optional:
    """Rights that are welcome together."""

    rights: tuple[Right, ...]
    lost: str
    """What there isn't without them."""


def _rights(resource: str, *verbs: str, whole_cluster: bool = False) -> tuple[Right, ...]:
    return tuple(Right(verb, resource, whole_cluster) for verb in verbs)


_SHADOW = (
    *_rights("jobs", "create", "get", "delete"),
    *_rights("leases", "create", "get", "patch"),
    *_rights("pods", "get", "list", "watch"),
    *_rights("pods/log", "get"),
)
"""To have a shadow made, to know it, and to have it gone."""

_FORWARD = _rights("pods/portforward", "get", "create")
"""A WebSocket is a GET, and asks for both (seen on Kubernetes 1.36)."""

_SIDELOAD = (
    *_rights("jobs", "patch"),
    *_rights("configmaps", "create", "get", "patch"),
)
"""To bring the shadow's code along."""

_SERVICE = _rights("services", "create", "get", "patch")
"""To have a Service of the session's own, which a shadow that is made anew takes over."""

_REQUIRED: dict[Command, tuple[Right, ...]] = {
    "connect": _SHADOW,
    "run": (*_SHADOW, *_SERVICE),
    "exchange": (*_SHADOW, *_rights("services", "list")),  # and `list_for_exchange`
    "mesh": (*_SHADOW, *_rights("deployments", "get"), *_rights("services", "list")),
}

_EVENTS = Optional(
    _rights("events", "list", "watch"),
    "why the cluster does not admit a shadow is not shown",
)

_LEFTOVERS = Optional(
    (
        *_rights("jobs", "list"),
        *_rights("leases", "list"),
        *_rights("deployments", "list"),
        *_rights("statefulsets", "list"),
    ),
    "what sessions of yours that were killed have left is not looked for",
)

_RESTORING = Optional(
    (
        *_rights("jobs", "patch"),
        *_rights("serviceaccounts", "create", "get", "patch"),
        *_rights("roles", "create", "get", "patch"),
        *_rights("rolebindings", "create", "get", "patch"),
    ),
    "a laptop that doesn't come back leaves the workload as it is, until `ktnet recover`",
)
"""To give the shadow an account of its own, by which it puts back what was taken."""

_UPKEEP = Optional(
    (
        *_rights("deployments", "list", "watch"),
        *_rights("statefulsets", "list", "watch"),
        *_rights("services", "watch"),
    ),
    "what others do to it meanwhile is not seen",
)

_AUTOSCALERS = Optional(
    _rights("horizontalpodautoscalers", "list"),
    "that a HorizontalPodAutoscaler scales the workload is not said",
)

_OPTIONAL: dict[Command, tuple[Optional, ...]] = {
    "run": (_EVENTS, _LEFTOVERS),
    "exchange": (_RESTORING, _UPKEEP, _AUTOSCALERS, _EVENTS, _LEFTOVERS),
    "mesh": (
        Optional(_rights("statefulsets", "get"), "StatefulSets can't be meshed"),
        Optional(
            (
                *_rights("serviceaccounts", "create"),
                *_rights("roles", "create"),
                *_rights("rolebindings", "create"),
            ),
            "should all laptops crash, the router can't put the Service back by itself",
        ),
        Optional(
            _rights("poddisruptionbudgets", "create"),
            "a node that is drained may take both pods of a router at once",
        ),
        _EVENTS,
        _LEFTOVERS,
    ),
    "connect": (
        Optional(
            _rights("services", "list", "watch"),
            "names such as <service>.<namespace> resolve only with the cluster's domain",
        ),
        _EVENTS,
        _LEFTOVERS,
        Optional(
            _rights("services", "list", "watch", whole_cluster=True),
            "of other namespaces, names such as <service>.<namespace> resolve only with the "
            "cluster's domain",
        ),
        Optional(
            _rights("servicecidrs", "list", whole_cluster=True),
            "the range of ClusterIPs is learnt from a refused Service (create on services), or "
            "has to be named with --include",
        ),
        Optional(
            _rights("nodes", "list", whole_cluster=True),
            "the range of pod addresses is guessed around those of pods that can be seen",
        ),
        Optional(
            _rights("pods", "list", whole_cluster=True),
            "pod addresses outside the nodes' ranges are known of the session's namespace only",
        ),
    ),
}


def list_required(
    command: Command, *, port_forward: bool = True, sideload: bool = False
) -> tuple[Right, ...]:
    """Without one of these the command fails, before it changes anything."""
    required = _REQUIRED[command] + (_FORWARD if port_forward else ())
    return required + (_SIDELOAD if sideload else ())


def list_for_exchange(plural: str) -> tuple[Right, ...]:
    """What it takes to change such an object, and to put it back: deployments, statefulsets, or
    services, where the original pods get a Service of the session's own beside."""
    own = _rights("services", "create") if plural == "services" else ()
    return (*_rights(plural, "get", "patch"), *own)


def list_for_router() -> tuple[Right, ...]:
    """What it takes to join a Service's mesh by a router, and to make one where there is none."""
    return (
        *_rights("services", "get", "list", "create", "patch"),
        *_rights("deployments", "get", "create", "patch", "delete"),
        *_rights("leases", "create", "get", "patch", "delete"),
        *_rights("pods", "get", "list", "watch"),
        *_rights("pods/log", "get"),
        *_FORWARD,
    )


def list_welcome() -> tuple[Optional, ...]:
    """What every command does more with, also one that takes a tunnel and nothing else."""
    return _EVENTS, _LEFTOVERS


def list_for_restoring() -> tuple[Right, ...]:
    """What it takes to have the shadow put back by itself what was taken."""
    return _RESTORING.rights


def list_for_istio() -> tuple[Right, ...]:
    """What it takes to add a mark to Istio's objects, and to remove it again."""
    return (
        *_rights("destinationrules", "list", "create", "patch", "delete"),
        *_rights("virtualservices", "list", "create", "patch", "delete"),
    )


def list_optional(command: Command) -> tuple[Optional, ...]:
    """Without one of these it does less, and says so."""
    return _OPTIONAL[command]


def find_missing(rights: Iterable[Right], rules: Iterable[Json]) -> list[Right]:
    """Those rights that none of these rules surely gives.

    `rules` are the resourceRules of a SelfSubjectRulesReview. One about single objects by name
    gives nothing here: our objects' names aren't known beforehand.
    """
    rules = [rule for rule in rules if isinstance(rule, dict) and not rule.get("resourceNames")]
    return [right for right in rights if not any(_gives(rule, right) for rule in rules)]


def _gives(rule: Json, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    resources = {"*", right.resource, *([f"*/{subresource}"] if subresource else [])}
    return (
        _has(rule, "verbs", {"*", right.verb})
        and _has(rule, "apiGroups", {"*", find_group(resource)})
        and _has(rule, "resources", resources)
    )


def _has(rule: Json, key: str, wanted: set[str]) -> bool:
    found = rule.get(key)
    return isinstance(found, list) and any(
        isinstance(each, str) and each in wanted for each in found
    )


def describe_rights(rights: Iterable[Right], namespace: str) -> str:
    """In words: "create jobs and get pods/log in namespace demo"."""
    texts = []
    for scope, those in groupby(rights, key=lambda right: right.whole_cluster):
        words = [f"{right.verb} {right.resource}" for right in those]
        listed = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
        texts.append(f"{listed} in {'the whole cluster' if scope else f'namespace {namespace}'}")
    return ", ".join(texts)


def build_rules(rights: Iterable[Right]) -> list[Json]:
    """The rules of a Role that gives these, and no more."""
    return list(_build_rules(rights))


def _build_rules(rights: Iterable[Right]) -> Iterator[Json]:
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource), []).append(right.verb)
    for (group, resource), those in verbs.items():
        yield {"apiGroups": [group], "resources": [resource], "verbs": those}


def build_roles(command: Command) -> list[Json]:
    """Role and ClusterRole, as in docs/rights.md: what has to be, and what may be given."""
    optional = [right for each in list_optional(command) for right in each.rights]
    namespaced = [right for right in optional if not right.whole_cluster]
    return [
        _role("Role", f"ktnet-{command}", list_required(command)),
        _role("Role", f"ktnet-{command}-sideload", _SIDELOAD),
        _role("Role", f"ktnet-{command}-optional", namespaced),
        _role(
            "ClusterRole",
            f"ktnet-{command}-optional",
            [right for right in optional if right.whole_cluster],
        ),
    ]


def _role(kind: str, name: str, rights: Iterable[Right]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": build_rules(rights),
    }
