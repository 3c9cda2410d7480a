"""Label and field selectors. Pure.

kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors and
.../field-selectors/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ktnet.lab.api.errors import Obj, bad_request

Predicate = Callable[[Obj], bool]

_TOKEN = re.compile(r"\s*(==|!=|[=!,()<>]|[^\s=!,()<>]+|$)")
_OPERATORS = frozenset({"=", "==", "!=", "in", "notin", "<", ">"})
_IDENTIFIER = re.compile(r"[^=!,()<>]+")

FIELDS: Mapping[str, tuple[str, ...]] = {
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "jobs": ("status.successful",),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "replicasets": ("status.replicas",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
}
"""Fields that can be selected by, beside metadata.name and metadata.namespace."""

_ELSEWHERE = {"status.successful": "status.succeeded", "source": "source.component"}
"""Selectable under another name than their own."""


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens = [token for token in _TOKEN.findall(text) if token]
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token


def _unparsable(found: str, expected: str) -> Exception:
    return bad_request(f"unable to parse requirement: found '{found}', expected: {expected}")


def parse_label_selector(text: str) -> Predicate:
    """What an equality- or set-based selector selects; raises ApiError 400."""
    tokens = _Tokens(text)
    requirements: list[Callable[[Mapping[str, str]], bool]] = []
    while tokens.peek():
        requirements.append(_parse_requirement(tokens))
        if tokens.peek() == ",":
            tokens.take()
            if not tokens.peek():
                raise _unparsable("", "identifier after ','")
        elif tokens.peek():
            raise _unparsable(tokens.peek(), "',' or 'end of string'")

    def selects(obj: Obj) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return selects


def _parse_requirement(tokens: _Tokens) -> Callable[[Mapping[str, str]], bool]:
    if tokens.peek() == "!":
        tokens.take()
        absent = _take_identifier(tokens)
        return lambda labels: absent not in labels
    key = _take_identifier(tokens)
    operator = tokens.peek()
    if operator in {"", ","}:
        return lambda labels: key in labels
    if operator not in _OPERATORS:
        raise _unparsable(operator, "in, notin, =, ==, !=, gt, lt")
    tokens.take()
    if operator in {"in", "notin"}:
        values = _take_values(tokens)
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    return _match_value(key, operator, tokens.take() if _is_identifier(tokens.peek()) else "")


def _match_value(key: str, operator: str, value: str) -> Callable[[Mapping[str, str]], bool]:
    if operator in {"=", "=="}:
        return lambda labels: labels.get(key) == value
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    if not re.fullmatch(r"-?[0-9]+", value):
        raise bad_request("for 'Gt', 'Lt' operators, the value must be an integer")
    return _compare(key, operator, int(value))


def _compare(key: str, operator: str, bound: int) -> Callable[[Mapping[str, str]], bool]:
    def holds(labels: Mapping[str, str]) -> bool:
        text = labels.get(key, "")
        if not re.fullmatch(r"-?[0-9]+", text):
            return False
        return int(text) > bound if operator == ">" else int(text) < bound

    return holds


def _is_identifier(token: str) -> bool:
    return _IDENTIFIER.fullmatch(token) is not None


def _take_identifier(tokens: _Tokens) -> str:
    if not _is_identifier(tokens.peek()):
        raise _unparsable(tokens.peek(), "!, identifier, or 'end of string'")
    return tokens.take()


def _take_values(tokens: _Tokens) -> frozenset[str]:
    if tokens.peek() != "(":
        raise _unparsable(tokens.peek(), "'('")
    tokens.take()
    values: set[str] = set()
    while True:
        if tokens.peek() in {",", ")"}:
            values.add("")
        elif _is_identifier(tokens.peek()):
            values.add(tokens.take())
        else:
            raise _unparsable(tokens.peek(), "',', ')' or identifier")
        after = tokens.take()
        if after == ")":
            return frozenset(values)
        if after != ",":
            raise _unparsable(after, "',' or ')'")


def parse_field_selector(plural: str, text: str) -> Predicate:
    """What a field selector selects among objects of that resource; raises ApiError 400."""
    terms: list[tuple[str, bool, str]] = []
    for term in filter(None, re.split(r"(?<!\\),", text)):
        match = re.fullmatch(r"(.*?)(!=|==|=)(.*)", term, re.DOTALL)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = match.groups()
        if field not in {"metadata.name", "metadata.namespace", *FIELDS.get(plural, ())}:
            raise bad_request(f"field label not supported: {field}")
        terms.append((_ELSEWHERE.get(field, field), operator != "!=", _unescape(value)))

    def selects(obj: Obj) -> bool:
        return all((_read(obj, field) == value) is equal for field, equal, value in terms)

    return selects


def _unescape(value: str) -> str:
    return re.sub(r"\\([\\,=])", r"\1", value)


def _read(obj: Obj, field: str) -> str:
    """A field as text; what is absent is empty, or false or 0 where it is one of those."""
    value: Any = obj
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if field in {"spec.unschedulable", "spec.hostNetwork"}:
        return "true" if value else "false"
    if field in {"status.succeeded", "status.replicas"}:
        return str(value or 0)
    return "" if value is None else str(value)


def select_by_labels(labels: Mapping[str, str]) -> Predicate:
    """Objects that carry all of these labels."""

    def selects(obj: Obj) -> bool:
        return labels.items() <= (obj["metadata"].get("labels") or {}).items()

    return selects
