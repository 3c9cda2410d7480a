"""In which form a client wants to read the answer. Pure.

kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

from dataclasses import dataclass

from ktnet.lab.api.errors import ApiError

_NOT_ACCEPTABLE = (
    "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
    "application/vnd.kubernetes.protobuf;stream=watch"
)
_JSON = frozenset({"application/json", "application/*", "*/*"})
_YAML = "application/yaml"
_FORMS = frozenset({"", "PartialObjectMetadata", "PartialObjectMetadataList", "Table"})


@dataclass(frozen=True)
class Form:
    """`kind` is empty for the object itself, else Table, PartialObjectMetadata or a list."""

    kind: str = ""
    yaml: bool = False

    @property
    def is_table(self) -> bool:
        return self.kind == "Table"

    @property
    def is_partial(self) -> bool:
        return self.kind.startswith("PartialObjectMetadata")


def choose_form(accept: str) -> Form:
    """Of several forms, the first that the lab speaks; raises ApiError 406."""
    if not accept.strip():
        return Form()
    for part in accept.split(","):
        media, *parameters = (each.strip() for each in part.split(";"))
        values = dict(each.partition("=")[::2] for each in parameters)
        kind = values.get("as", "")
        if media in {*_JSON, _YAML} and kind in _FORMS:
            return Form(kind, yaml=media == _YAML)
    raise ApiError(406, "NotAcceptable", _NOT_ACCEPTABLE, {})
