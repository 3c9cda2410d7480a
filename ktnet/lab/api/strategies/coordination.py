"""Leases and Events."""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import Strategy, put_default


class LeaseStrategy(Strategy):
    creates_on_update = True
    updates_unconditionally = False

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {})

    def check(self, check: FieldCheck, obj: Obj) -> None:
        duration = obj["spec"].get("leaseDurationSeconds")
        if isinstance(duration, int) and duration <= 0:
            check.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
        check.not_negative("spec.leaseTransitions", obj["spec"].get("leaseTransitions"))


class EventStrategy(Strategy):
    creates_on_update = True

    def default(self, obj: Obj) -> None:
        put_default(obj, involvedObject={}, source={})
        put_default(obj, reportingComponent="", reportingInstance="")

    def check(self, check: FieldCheck, obj: Obj) -> None:
        where = obj["involvedObject"].get("namespace", "")
        if where and where != obj["metadata"]["namespace"]:
            check.invalid("involvedObject.namespace", where, "does not match event.namespace")

    def present(self, obj: Obj) -> None:
        put_default(obj, firstTimestamp=None, lastTimestamp=None, eventTime=None)
