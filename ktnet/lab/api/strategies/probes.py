"""Defaults and checks of probes and lifecycle handlers. Pure."""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import put_default

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def default_probes(container: Obj) -> None:
    """kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/."""
    for name in PROBES:
        probe = container.get(name)
        if probe is None:
            continue
        put_default(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1)
        put_default(probe, failureThreshold=3)
        _default_handler(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_handler(hook)


def _default_handler(handler: Obj) -> None:
    if "httpGet" in handler:
        put_default(handler["httpGet"], path="/", scheme="HTTP")
    if "grpc" in handler:
        put_default(handler["grpc"], service="")


def check_probes(check: FieldCheck, container: Obj, field: str) -> None:
    for name in PROBES:
        probe = container.get(name)
        if probe is None:
            continue
        at = f"{field}.{name}"
        handlers = [each for each in HANDLERS if each in probe]
        if not handlers:
            check.required(at, "must specify a handler type")
        for extra in handlers[1:]:
            check.forbidden(f"{at}.{extra}", "may not specify more than 1 handler type")
        for key in ("httpGet", "tcpSocket", "grpc"):
            if key in probe:
                check.port(f"{at}.{key}.port", probe[key].get("port", 0))
        for key in (
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ):
            check.not_negative(f"{at}.{key}", probe.get(key))
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            check.invalid(f"{at}.successThreshold", probe["successThreshold"], "must be 1")
