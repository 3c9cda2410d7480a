"""The checks of the level `baseline`. Pure.

As k8s.io/pod-security-admission/policy/check_*.go, in the order of their names. What the
recordings don't show of them is unproven.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ktnet.lab.api.errors import Obj
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

CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
"""What container runtimes give by default."""

SYSCTLS = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range"),
        *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies"),
        *("net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout"),
        *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"),
        *("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    }
)
APP_ARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)


def check_app_armor(spec: Obj, annotations: Mapping[str, str]) -> Finding | None:
    """The one check that looks at annotations too: they were there before the field."""

    def unconfined(owner: Obj) -> bool:
        return (context_of(owner).get("appArmorProfile") or {}).get("type") == "Unconfined"

    details = [
        f'{key}="{value}"'
        for key, value in sorted(annotations.items())
        if key.startswith(APP_ARMOR_PREFIX)
        and value not in {"", "runtime/default"}
        and not value.startswith("localhost/")
    ]
    if setters := name_setters(spec, unconfined):
        details.append(f'{setters} must not set AppArmor profile type to "Unconfined"')
    word = "profile" if len(details) == 1 else "profiles"
    return Finding(f"forbidden AppArmor {word}", ", ".join(details)) if details else None


def check_capabilities(spec: Obj) -> Finding | None:
    added = {
        capability
        for container in list_containers(spec)
        for capability in capabilities_of(container).get("add") or ()
        if capability not in CAPABILITIES
    }
    if not added:
        return None
    names = name_containers(spec, lambda each: bool(added & set(_added(each))))
    return Finding("non-default capabilities", say_added(names, added))


def say_added(names: list[str], added: set[str]) -> str:
    return (
        f"{say_many('container', names)} must not include {quote_all(sorted(added))} in "
        "securityContext.capabilities.add"
    )


def check_host_namespaces(spec: Obj) -> Finding | None:
    keys = ("hostNetwork", "hostPID", "hostIPC")
    found = [f"{key}=true" for key in keys if spec.get(key)]
    return Finding("host namespaces", ", ".join(found)) if found else None


def check_host_paths(spec: Obj) -> Finding | None:
    names = [each["name"] for each in spec.get("volumes") or () if "hostPath" in each]
    return Finding("hostPath volumes", say_many("volume", names)) if names else None


def check_host_ports(spec: Obj) -> Finding | None:
    def ports(container: Obj) -> list[int]:
        found = (each.get("hostPort") for each in container.get("ports") or ())
        return [port for port in found if port]

    names = name_containers(spec, lambda each: bool(ports(each)))
    if not names:
        return None
    found = sorted({str(port) for each in list_containers(spec) for port in ports(each)})
    use = "uses" if len(names) == 1 else "use"
    word = "hostPort" if len(found) == 1 else "hostPorts"
    detail = f"{say_many('container', names)} {use} {word} {', '.join(found)}"
    return Finding("hostPort", detail)


def check_probe_hosts(spec: Obj) -> Finding | None:
    """Since 1.34: a probe must not be aimed at another host."""
    names = name_containers(spec, lambda each: bool(list(_hosts(each))))
    if not names:
        return None
    hosts = sorted({host for each in list_containers(spec) for host in _hosts(each)})
    use = "uses" if len(names) == 1 else "use"
    word = "host" if len(hosts) == 1 else "hosts"
    detail = f"{say_many('container', names)} {use} probe or lifecycle {word} {quote_all(hosts)}"
    return Finding("probe or lifecycle host", detail)


def check_privileged(spec: Obj) -> Finding | None:
    names = name_containers(spec, lambda each: bool(context_of(each).get("privileged")))
    detail = f"{say_many('container', names)} must not set securityContext.privileged=true"
    return Finding("privileged", detail) if names else None


def check_proc_mount(spec: Obj) -> Finding | None:
    def mount(container: Obj) -> str:
        return str(context_of(container).get("procMount") or "Default")

    names = name_containers(spec, lambda each: mount(each) != "Default")
    if not names:
        return None
    kinds = sorted({mount(each) for each in list_containers(spec)} - {"Default"})
    who = say_many("container", names)
    return Finding(
        "procMount", f"{who} must not set securityContext.procMount to {quote_all(kinds)}"
    )


def check_selinux(spec: Obj) -> Finding | None:
    def options(owner: Obj) -> Obj:
        return dict(context_of(owner).get("seLinuxOptions") or {})

    def bad(owner: Obj) -> bool:
        found = options(owner)
        return (
            found.get("type", "") not in SELINUX_TYPES
            or bool(found.get("user"))
            or bool(found.get("role"))
        )

    setters = name_setters(spec, bad)
    if not setters:
        return None
    owners = [options(each) for each in (spec, *list_containers(spec))]
    types = sorted({each.get("type", "") for each in owners} - SELINUX_TYPES)
    said = [f"{'type' if len(types) == 1 else 'types'} {quote_all(types)}"] if types else []
    for key in ("user", "role"):
        said += [f"{key} may not be set"] if any(each.get(key) for each in owners) else []
    detail = f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}"
    return Finding("seLinuxOptions", detail)


def check_seccomp(spec: Obj) -> Finding | None:
    setters = name_setters(spec, lambda owner: seccomp_type(owner) == "Unconfined")
    return Finding("seccompProfile", say_seccomp(setters, ["Unconfined"])) if setters else None


def seccomp_type(owner: Obj) -> str:
    return str((context_of(owner).get("seccompProfile") or {}).get("type") or "")


def say_seccomp(setters: str, types: list[str]) -> str:
    return f"{setters} must not set securityContext.seccompProfile.type to {quote_all(types)}"


def check_sysctls(spec: Obj) -> Finding | None:
    names = [each["name"] for each in context_of(spec).get("sysctls") or ()]
    bad = sorted(set(names) - SYSCTLS)
    return Finding("forbidden sysctls", ", ".join(bad)) if bad else None


def check_host_process(spec: Obj) -> Finding | None:
    def hosts(owner: Obj) -> bool:
        return bool((context_of(owner).get("windowsOptions") or {}).get("hostProcess"))

    setters = name_setters(spec, hosts)
    detail = f"{setters} must not set securityContext.windowsOptions.hostProcess=true"
    return Finding("hostProcess", detail) if setters else None


def _added(container: Obj) -> list[str]:
    return list(capabilities_of(container).get("add") or ())


def _hosts(container: Obj) -> Iterator[str]:
    handlers = [
        *(container.get(key) for key in ("livenessProbe", "readinessProbe", "startupProbe")),
        *((container.get("lifecycle") or {}).get(key) for key in ("postStart", "preStop")),
    ]
    for handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            host = ((handler or {}).get(kind) or {}).get("host")
            if host:
                yield str(host)
