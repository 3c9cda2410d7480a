"""Options of the form KEY=VALUE, checked as the API server would, so that a slip costs no pod.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

from __future__ import annotations

import re

import click

Pair = tuple[str, str]

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUANTITY = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
"""k8s.io/apimachinery/pkg/api/resource, without a sign."""

_OURS = re.compile(r"(.*\.)?ktnet\.dev/.*|app\.kubernetes\.io/(name|managed-by)")
"""Labels by which a session finds its objects again."""
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


class KeyValue(click.ParamType[Pair]):
    """`key=value`, the key being one of a label or an annotation."""

    name = "key=value"

    def convert(
        self, value: str | Pair, param: click.Parameter | None, ctx: click.Context | None
    ) -> Pair:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r} is not of the form KEY=VALUE", param, ctx)
        prefix, slash, name = key.rpartition("/")
        if (
            not _NAME.fullmatch(name)
            or (slash and not _PREFIX.fullmatch(prefix))
            or len(prefix) > 253
        ):
            self.fail(f"{key!r} is no key of a label or an annotation", param, ctx)
        self.check(key, text, param, ctx)
        return key, text

    def check(
        self, key: str, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> None:
        """What is allowed beyond the key's form; an annotation's value may be anything."""


class Label(KeyValue):
    """One that objects may have."""

    def check(
        self, key: str, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> None:
        del key
        if text and not _NAME.fullmatch(text):
            self.fail(f"{text!r} is no value of a label", param, ctx)


class OwnLabel(Label):
    """One that may be put on a shadow."""

    def check(
        self, key: str, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> None:
        if _OURS.fullmatch(key):
            self.fail(f"the label {key} is ktnet's own", param, ctx)
        super().check(key, text, param, ctx)


class Resources(click.ParamType[tuple[Pair, ...]]):
    """`cpu=500m,memory=128Mi`."""

    name = "cpu=..,memory=.."

    def convert(
        self,
        value: str | tuple[Pair, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[Pair, ...]:
        if isinstance(value, tuple):
            return value
        found: dict[str, str] = {}
        for each in value.split(","):
            key, _, quantity = each.strip().partition("=")
            if key not in _RESOURCES or key in found:
                self.fail(f"{each!r} names none of {', '.join(_RESOURCES)}, or again", param, ctx)
            if not _QUANTITY.fullmatch(quantity):
                self.fail(f"{quantity!r} is no quantity, such as 500m or 128Mi", param, ctx)
            found[key] = quantity
        return tuple(found.items())


ANNOTATION = KeyValue()
LABEL = Label()
OWN_LABEL = OwnLabel()
RESOURCES = Resources()
