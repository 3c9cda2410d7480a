"""Whether rules that one has hold all of others, and how those that they don't are told. Pure.

As k8s.io/component-helpers/auth/rbac/validation/policy_comparator.go, and for the words
k8s.io/kubernetes/pkg/apis/rbac/v1/helpers.go (CompactString) and
pkg/registry/rbac/validation/policy_compact.go.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.rbac.rules import ALL, url_matches

_SHOWN = (
    ("APIGroups", "apiGroups"),
    ("Resources", "resources"),
    ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"),
    ("Verbs", "verbs"),
)


def list_missing(held: Iterable[Obj], wanted: Iterable[Obj]) -> list[Obj]:
    """Of the rules wanted, the smallest parts that no rule held covers."""
    owned = list(held)
    return [
        part
        for rule in wanted
        for part in _break_down(rule)
        if not any(_covers(each, part) for each in owned)
    ]


def describe_missing(missing: list[Obj]) -> str:
    """A line for each rule; parts that differ in their verbs only are told as one."""
    joined: dict[str, Obj] = {}
    for part in missing:
        key = json.dumps({**part, "verbs": []}, sort_keys=True)
        if key in joined:
            joined[key]["verbs"] = [*joined[key]["verbs"], *part["verbs"]]
        else:
            joined[key] = dict(part)
    return "\n".join(sorted({_show(rule) for rule in joined.values()}))


def quote_list(texts: Iterable[str]) -> str:
    """As Go's %q shows a list of strings."""
    return f"[{' '.join(json.dumps(text) for text in texts)}]"


def _show(rule: Obj) -> str:
    fields = [f"{label}:{quote_list(rule[key])}" for label, key in _SHOWN if rule.get(key)]
    return "{" + ", ".join(fields) + "}"


def _break_down(rule: Obj) -> Iterator[Obj]:
    verbs = rule.get("verbs") or ()
    names = [[name] for name in rule.get("resourceNames") or ()] or [[]]
    for group, resource, verb, name in itertools.product(
        rule.get("apiGroups") or (), rule.get("resources") or (), verbs, names
    ):
        part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        yield {**part, "resourceNames": name} if name else part
    for url, verb in itertools.product(rule.get("nonResourceURLs") or (), verbs):
        yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(held: Obj, part: Obj) -> bool:
    if not {part["verbs"][0], ALL} & set(held.get("verbs") or ()):
        return False
    if "nonResourceURLs" in part:
        wanted = part["nonResourceURLs"][0]
        return any(url_matches(url, wanted) for url in held.get("nonResourceURLs") or ())
    names = held.get("resourceNames") or ()
    return (
        bool({part["apiGroups"][0], ALL} & set(held.get("apiGroups") or ()))
        and _covers_resource(held.get("resources") or (), part["resources"][0])
        and (not names or bool(set(part.get("resourceNames") or ()) & set(names)))
    )


def _covers_resource(held: list[str] | tuple[str, ...], wanted: str) -> bool:
    _, slash, subresource = wanted.partition("/")
    return bool({ALL, wanted} & set(held)) or (bool(slash) and f"*/{subresource}" in held)
