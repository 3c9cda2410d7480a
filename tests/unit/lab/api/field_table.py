"""Builds ktnet/lab/api/fields.json: which fields each kind has, by the Kubernetes client.

    .venv/bin/python tests/unit/lab/api/field_table.py

The lab may not import that client, so that the two can't err together; a test compares the file
with what is built here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from kubernetes import client
from kubernetes.client import models

import ktnet.lab.api
from ktnet.lab.api.resources import RESOURCES

FILE = Path(ktnet.lab.api.__file__).with_name("fields.json")
OTHERS = {"Scale": "V1Scale", "Binding": "V1Binding"}
"""Kinds that only subresources take."""
SPECIAL = {
    "Event": "CoreV1Event",
    "IntOrString": "",
    "TokenRequest": "AuthenticationV1TokenRequest",
}


def build_table() -> dict[str, dict[str, str]]:
    """By type: its fields, each with the type of what is in it, empty where that has no fields.

    A list's and a map's type are those of their elements, the latter's in braces.
    """
    table: dict[str, dict[str, str]] = {}
    kinds = {each.kind: f"{each.version.capitalize()}{each.kind}" for each in RESOURCES}
    for kind, name in {**kinds, **OTHERS}.items():
        add_model(table, SPECIAL.get(kind, name), shown=kind)
    return dict(sorted(table.items()))


def add_model(table: dict[str, dict[str, str]], name: str, *, shown: str) -> None:
    if shown in table:
        return
    model = getattr(models, name)
    fields = table[shown] = {}
    for attribute, written in sorted(model.attribute_map.items(), key=lambda each: each[1]):
        fields[written] = add_type(table, model.openapi_types[attribute])


def add_type(table: dict[str, dict[str, str]], written: str) -> str:
    """What stands in the table for a type as the client writes it."""
    if listed := re.fullmatch(r"List\[(.*)\]", written):
        return add_type(table, listed[1])
    if mapped := re.fullmatch(r"Dict\[str, (.*)\]", written):
        below = add_type(table, mapped[1])
        return f"{{{below}}}" if below else ""
    if not hasattr(models, written) or not getattr(models, written).openapi_types:
        return ""
    add_model(table, written, shown=written)
    return written


def encode(table: dict[str, dict[str, str]]) -> str:
    """A type a line, so that a difference shows where it is."""
    lines = (f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in table.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(encode(build_table()))
    print(f"{FILE}: Kubernetes client {client.__version__}, {len(build_table())} types")
