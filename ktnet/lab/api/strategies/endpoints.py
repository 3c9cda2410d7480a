"""Endpoints and EndpointSlices."""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import Strategy, put_default

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MOST_ENDPOINTS = 1000


class EndpointsStrategy(Strategy):
    name_is_label = True
    creates_on_update = True

    def default(self, obj: Obj) -> None:
        for subset in obj.get("subsets") or []:
            for port in subset.get("ports") or []:
                put_default(port, protocol="TCP")
        if not obj.get("subsets"):
            obj.pop("subsets", None)


class EndpointSliceStrategy(Strategy):
    creates_on_update = True
    has_generation = True

    def default(self, obj: Obj) -> None:
        put_default(obj, addressType="", endpoints=[], ports=[])
        for endpoint in obj["endpoints"] or []:
            put_default(endpoint, conditions={})
        for port in obj["ports"] or []:
            put_default(port, name="", protocol="TCP")

    def check(self, check: FieldCheck, obj: Obj) -> None:
        if not obj["addressType"]:
            check.required("addressType")
        elif obj["addressType"] not in ADDRESS_TYPES:
            check.unsupported("addressType", obj["addressType"], ADDRESS_TYPES)
        for index, endpoint in enumerate(obj["endpoints"] or []):
            if not endpoint.get("addresses"):
                check.required(f"endpoints[{index}].addresses", "must contain at least 1 address")
        names = [port["name"] for port in obj["ports"] or []]
        for index, name in enumerate(names):
            if name in names[:index]:
                check.duplicate(f"ports[{index}].name", name)

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        check.immutable("addressType", new["addressType"], old["addressType"])

    def spec_of(self, obj: Obj) -> Obj:
        return {key: value for key, value in obj.items() if key != "metadata"}

    def present(self, obj: Obj) -> None:
        # Go writes an empty list that nobody set as null; both members are always there.
        obj["endpoints"] = obj.get("endpoints") or None
        obj["ports"] = obj.get("ports") or None
