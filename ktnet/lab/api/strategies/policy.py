"""What bounds others: ResourceQuotas, LimitRanges, PodDisruptionBudgets.

kubernetes.io/docs/concepts/policy/resource-quotas/ and .../workloads/pods/disruptions/; the checks
are those of pkg/apis/core/validation (ValidateResourceQuotaSpec) and pkg/apis/policy/validation.
"""

from __future__ import annotations

import re
from typing import Any

from ktnet.lab.api.errors import Obj, not_supported
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.quantity import parse_quantity
from ktnet.lab.api.strategies.strategy import Strategy, keep, put_default

_PERCENT = re.compile("[0-9]+%")
_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


class ResourceQuotaStrategy(Strategy):
    has_status = True
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {})

    def check(self, check: FieldCheck, obj: Obj) -> None:
        if obj["spec"].get("scopeSelector"):
            raise not_supported("a scopeSelector: name the scopes")
        check_quantities(check, "spec.hard", obj["spec"].get("hard"))

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        scopes = [sorted(each["spec"].get("scopes") or []) for each in (new, old)]
        if scopes[0] != scopes[1]:
            check.invalid("spec.scopes", scopes[0], "field is immutable")

    def present(self, obj: Obj) -> None:
        obj.setdefault("status", {})


class LimitRangeStrategy(Strategy):
    """Its defaults are those of pkg/apis/core/v1/defaults.go (SetDefaults_LimitRangeItem)."""

    def default(self, obj: Obj) -> None:
        for item in obj.setdefault("spec", {}).setdefault("limits", []):
            if item.get("type") != "Container":
                continue
            limits = {**(item.get("max") or {}), **(item.get("default") or {})}
            requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
            for name, amounts in (("default", limits), ("defaultRequest", requests)):
                if amounts:
                    item[name] = amounts

    def check(self, check: FieldCheck, obj: Obj) -> None:
        for index, item in enumerate(obj["spec"]["limits"]):
            field = f"spec.limits[{index}]"
            for part in ("max", "min", "default", "defaultRequest"):
                check_quantities(check, f"{field}.{part}", item.get(part))
            if item.get("maxLimitRequestRatio"):
                raise not_supported("maxLimitRequestRatio")


def check_quantities(check: FieldCheck, field: str, amounts: Obj | None) -> None:
    """Each is a quantity, and not negative."""
    for key, value in (amounts or {}).items():
        try:
            negative = parse_quantity(value) < 0
        except ValueError:
            why = (
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            )
            check.invalid(f"{field}[{key}]", value, why)
        else:
            if negative:
                why = "must be greater than or equal to 0"
                check.invalid(f"{field}[{key}]", str(value), why)


class PodDisruptionBudgetStrategy(Strategy):
    has_status = True
    has_generation = True

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {})

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec = obj["spec"]
        if "minAvailable" in spec and "maxUnavailable" in spec:
            check.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
        for key in ("minAvailable", "maxUnavailable"):
            _check_share(check, f"spec.{key}", spec.get(key))
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in _EVICTION_POLICIES:
            check.unsupported("spec.unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES)

    def prepare_update(self, new: Obj, old: Obj) -> None:
        keep(new, old, "status")

    def present(self, obj: Obj) -> None:
        put_default(
            obj.setdefault("status", {}),
            disruptionsAllowed=0,
            currentHealthy=0,
            desiredHealthy=0,
            expectedPods=0,
        )


def _check_share(check: FieldCheck, field: str, value: Any) -> None:
    """A number of pods or a percentage of them."""
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        why = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
            "'1%',  or '93%', regex used for validation is '[0-9]+%')"
        )
        check.invalid(field, value, why)
    elif isinstance(value, str) and int(value[:-1]) > 100:
        check.invalid(field, value, "must not be greater than 100%")
    else:
        check.not_negative(field, value)
