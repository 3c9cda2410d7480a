"""What a namespace's labels make of a pod: refused, warned of, or nothing. Pure.

As k8s.io/pod-security-admission/admission/admission.go. Nobody and no namespace is exempt. All
versions of a level have the checks of the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktnet.lab.api.errors import Obj, forbidden
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.podsecurity import baseline, restricted
from ktnet.lab.api.podsecurity.finding import CONTAINERS, Check, Finding

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
LEVELS = ("privileged", "baseline", "restricted")

_BASELINE: tuple[Check, ...] = (
    baseline.check_capabilities,
    baseline.check_host_namespaces,
    baseline.check_host_paths,
    baseline.check_host_ports,
    baseline.check_probe_hosts,
    baseline.check_privileged,
    baseline.check_proc_mount,
    baseline.check_selinux,
    baseline.check_seccomp,
    baseline.check_sysctls,
    baseline.check_host_process,
)
_REPLACED = {baseline.check_capabilities, baseline.check_host_paths, baseline.check_seccomp}
_RESTRICTED: tuple[Check, ...] = (
    *(check for check in _BASELINE if check not in _REPLACED),
    restricted.check_privilege_escalation,
    restricted.check_capabilities,
    restricted.check_volumes,
    restricted.check_non_root,
    restricted.check_user,
    restricted.check_seccomp,
)
_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "baseline": _BASELINE,
    "restricted": _RESTRICTED,
}


@dataclass(frozen=True)
class Level:
    """`restricted:latest`."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    def evaluate(self, spec: Obj, annotations: Mapping[str, str] | None = None) -> list[Finding]:
        """What is forbidden in a PodSpec, of a pod with these annotations."""
        if self.name == "privileged":
            return []
        found = [baseline.check_app_armor(spec, annotations or {})]
        found += (check(spec) for check in _CHECKS[self.name])
        return [each for each in found if each is not None]

    def evaluate_pod(self, pod: Obj) -> list[Finding]:
        """What is forbidden in a pod, or in a template of one."""
        return self.evaluate(pod.get("spec") or {}, (pod.get("metadata") or {}).get("annotations"))


def find_level(namespace: Obj, mode: str) -> Level:
    """What a namespace's labels ask for; what is no level is the strictest."""
    labels = namespace["metadata"].get("labels") or {}
    name = labels.get(f"{PREFIX}{mode}", "privileged")
    version = labels.get(f"{PREFIX}{mode}-version", "latest")
    return Level(name if name in LEVELS else "restricted", version)


def check_levels(check: FieldCheck, namespace: Obj) -> None:
    """Labels that name no level are refused."""
    labels = namespace["metadata"].get("labels") or {}
    for mode in MODES:
        value = labels.get(f"{PREFIX}{mode}")
        if value is not None and value not in LEVELS:
            field = f"metadata.labels[{PREFIX}{mode}]"
            check.invalid(field, value, f"must be one of {', '.join(LEVELS)}")


def check_pod(namespace: Obj, pod: Obj, old: Obj | None) -> None:
    """Raises ApiError 403 for a pod that violates the level that is enforced."""
    if old is not None and not _is_significant(pod["spec"], old["spec"]):
        return
    level = find_level(namespace, "enforce")
    found = level.evaluate_pod(pod)
    if found:
        raise forbidden("", "pods", pod["metadata"].get("name", ""), _say("violates", level, found))


def list_pod_warnings(namespace: Obj, obj: Obj) -> list[str]:
    """Of a pod that was accepted, or of anything that makes pods from a template."""
    pod = find_pod(obj)
    level = find_level(namespace, "warn")
    found = level.evaluate_pod(pod) if pod is not None else []
    return [_say("would violate", level, found)] if found else []


def list_namespace_warnings(new: Obj, old: Obj, pods: Iterable[Obj]) -> list[str]:
    """Of pods that a namespace's new labels would not have let in."""
    level, before = find_level(new, "enforce"), find_level(old, "enforce")
    if level == before or LEVELS.index(level.name) <= LEVELS.index(before.name):
        return []
    groups: dict[str, list[str]] = {}
    for pod in pods:
        found = level.evaluate_pod(pod)
        if found:
            reasons = ", ".join(each.reason for each in found)
            groups.setdefault(reasons, []).append(pod["metadata"]["name"])
    if not groups:
        return []
    name = new["metadata"]["name"]
    head = (
        f'existing pods in namespace "{name}" violate the new PodSecurity enforce level "{level}"'
    )
    return [head, *sorted(_say_group(sorted(names), text) for text, names in groups.items())]


def find_pod(obj: Obj) -> Obj | None:
    """A pod itself, or the template in a workload or a CronJob."""
    spec = obj.get("spec") or {}
    if "containers" in spec:
        return obj
    template = spec.get("template") or ((spec.get("jobTemplate") or {}).get("spec") or {}).get(
        "template"
    )
    return dict(template) if template else None


def build_warning(text: str) -> str:
    """A Warning header (RFC 7234 section 5.5), its text a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'


def _is_significant(new: Obj, old: Obj) -> bool:
    keys = (*CONTAINERS, "securityContext")
    return any(new.get(key) != old.get(key) for key in keys)


def _say(verb: str, level: Level, found: list[Finding]) -> str:
    return f'{verb} PodSecurity "{level}": {", ".join(map(str, found))}'


def _say_group(names: list[str], text: str) -> str:
    others = len(names) - 1
    if not others:
        return f"{names[0]}: {text}"
    return f"{names[0]} (and {others} other {'pod' if others == 1 else 'pods'}): {text}"
