"""Puts Tables together. Pure.

kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from datetime import datetime

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.listing import strip_to_metadata
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.tables.cells import Columns
from ktnet.lab.api.tables.core import CORE, CUSTOM, OTHERS, WIDE_EVENT_COLUMNS
from ktnet.lab.api.tables.pods import PODS
from ktnet.lab.api.tables.workloads import WORKLOADS

COLUMNS = {"pods": PODS, **WORKLOADS, **CORE}


def build_table(
    resource: Resource,
    objects: list[Obj],
    meta: Obj,
    now: datetime,
    *,
    include: str = "",
    defined: bool = True,
) -> Obj:
    """`include` says how much of each object goes with its row: Metadata, Object or None.

    `defined` is False where the columns were said before, as in all but the first event of a watch.
    """
    columns = COLUMNS.get(resource.key, CUSTOM if resource.custom else OTHERS)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": _define(resource, columns) if defined else None,
        "rows": [_row(resource, columns, obj, now, include) for obj in objects],
    }


def _define(resource: Resource, columns: Columns) -> list[Obj]:
    definitions = columns.definitions()
    if resource.key == "events":
        for each in definitions:
            each["priority"] = int(each["name"] in WIDE_EVENT_COLUMNS)
    return definitions


def _row(resource: Resource, columns: Columns, obj: Obj, now: datetime, include: str) -> Obj:
    row: Obj = {"cells": columns.print_cells(obj, now)}
    conditions = columns.conditions(obj) if columns.conditions is not None else []
    if conditions:
        row["conditions"] = conditions
    match include:
        case "None":
            row["object"] = None
        case "Object":
            row["object"] = {
                **obj,
                "kind": resource.kind,
                "apiVersion": resource.api_version,
            }
        case _:
            row["object"] = strip_to_metadata(obj)
    return row
