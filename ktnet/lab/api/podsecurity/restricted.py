"""The checks that the level `restricted` adds, some in the place of baseline's. Pure.

As k8s.io/pod-security-admission/policy/check_*.go, in the order of their names. Not here: what is
relaxed for Windows and for pods with user namespaces.
"""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.podsecurity.baseline import say_added, say_seccomp, seccomp_type
from ktnet.lab.api.podsecurity.finding import (
    Finding,
    capabilities_of,
    context_of,
    list_containers,
    name_containers,
    name_setters,
    quote_all,
    say_many,
)

VOLUMES = (
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
)
SECCOMP = ("RuntimeDefault", "Localhost")


def check_privilege_escalation(spec: Obj) -> Finding | None:
    def may(container: Obj) -> bool:
        return context_of(container).get("allowPrivilegeEscalation") is not False

    names = name_containers(spec, may)
    who = say_many("container", names)
    detail = f"{who} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail) if names else None


def check_capabilities(spec: Obj) -> Finding | None:
    def keeps(container: Obj) -> bool:
        return "ALL" not in (capabilities_of(container).get("drop") or ())

    def adds(container: Obj) -> set[str]:
        return set(capabilities_of(container).get("add") or ()) - {"NET_BIND_SERVICE"}

    details = []
    names = name_containers(spec, keeps)
    if names:
        who = say_many("container", names)
        details.append(f'{who} must set securityContext.capabilities.drop=["ALL"]')
    added = {each for container in list_containers(spec) for each in adds(container)}
    if added:
        names = name_containers(spec, lambda each: bool(adds(each)))
        details.append(say_added(names, added))
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def check_volumes(spec: Obj) -> Finding | None:
    names, types = [], set()
    for volume in spec.get("volumes") or ():
        kinds = [key for key in volume if key != "name"]
        if kinds and not any(kind in VOLUMES for kind in kinds):
            names.append(volume["name"])
            types.add(kinds[0])
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    word = "type" if len(types) == 1 else "types"
    who = say_many("volume", names)
    detail = f"{who} {use} restricted volume {word} {quote_all(sorted(types))}"
    return Finding("restricted volume types", detail)


def check_non_root(spec: Obj) -> Finding | None:
    def denies(owner: Obj) -> bool:
        return context_of(owner).get("runAsNonRoot") is False

    reason = "runAsNonRoot != true"
    setters = name_setters(spec, denies)
    if setters:
        return Finding(reason, f"{setters} must not set securityContext.runAsNonRoot=false")
    if context_of(spec).get("runAsNonRoot"):
        return None
    names = name_containers(spec, lambda each: not context_of(each).get("runAsNonRoot"))
    who = say_many("container", names)
    detail = f"pod or {who} must set securityContext.runAsNonRoot=true"
    return Finding(reason, detail) if names else None


def check_user(spec: Obj) -> Finding | None:
    def is_root(owner: Obj) -> bool:
        user = context_of(owner).get("runAsUser")
        return user is not None and user == 0

    setters = name_setters(spec, is_root)
    return Finding("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def check_seccomp(spec: Obj) -> Finding | None:
    reason = "seccompProfile"

    def bad(owner: Obj) -> bool:
        return seccomp_type(owner) not in {"", *SECCOMP}

    setters = name_setters(spec, bad)
    if setters:
        types = {seccomp_type(each) for each in (spec, *list_containers(spec))}
        return Finding(reason, say_seccomp(setters, sorted(types - {"", *SECCOMP})))
    if seccomp_type(spec):
        return None
    names = name_containers(spec, lambda each: not seccomp_type(each))
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    detail = f"pod or {say_many('container', names)} {wanted}"
    return Finding(reason, detail) if names else None
