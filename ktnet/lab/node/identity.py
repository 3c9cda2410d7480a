"""Who a container's process is: user, groups, capabilities. Pure.

https://kubernetes.io/docs/tasks/configure-pod-container/security-context/

Of a `seccompProfile` RuntimeDefault counts (see ktnet.lab.node.seccomp); without one there is none,
as a kubelet has it by default.
"""

from __future__ import annotations

from typing import Any

from ktnet.lab.node.images import NOBODY, Image
from ktnet.lab.node.launch import Identity
from ktnet.lab.node.refusal import Refusal, config_error

Obj = dict[str, Any]

# include/uapi/linux/capability.h, in the order of the numbers.
CAPABILITIES = (  # noqa: SIM905 -- reads better
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()

# What containerd grants by default: pkg/oci/spec.go, defaultUnixCaps.
DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)

# With these a process in a lab's pod could change the machine that the lab runs on.
REFUSED_CAPABILITIES = frozenset(
    {
        "BPF",
        "DAC_READ_SEARCH",
        "MAC_ADMIN",
        "MAC_OVERRIDE",
        "PERFMON",
        "SYSLOG",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_MODULE",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_RESOURCE",
        "SYS_TIME",
    }
)


def build_identity(pod: Obj, container: Obj, image: Image) -> Identity:
    """The container's own security context, the pod's, or the image's user; raises Refusal."""
    outer = pod["spec"].get("securityContext") or {}
    inner = container.get("securityContext") or {}
    if inner.get("privileged"):
        raise Refusal("CreateContainerError", "the lab runs no privileged containers")

    def setting(key: str) -> Any:
        return inner.get(key, outer.get(key))

    uid = setting("runAsUser")
    gid = setting("runAsGroup")
    if gid is None:
        # containerd takes the group from the image's user, or from its /etc/passwd.
        gid = image.gid if uid is None else (NOBODY if uid == NOBODY else 0)
    if uid is None:
        uid = image.uid
    if setting("runAsNonRoot") and uid == 0:
        meta = pod["metadata"]
        where = f'"{meta["name"]}_{meta["namespace"]}({meta["uid"]})"'
        what = (
            "container's runAsUser breaks non-root policy"
            if setting("runAsUser") == 0
            else "container has runAsNonRoot and image will run as root"
        )
        raise config_error(f"{what} (pod: {where}, container: {container['name']})")
    more = [*(outer.get("supplementalGroups") or ())]
    if "fsGroup" in outer:
        more.append(outer["fsGroup"])
    return Identity(
        uid=uid,
        gid=gid,
        groups=tuple(dict.fromkeys([gid, *more])),
        capabilities=build_capabilities(inner.get("capabilities") or {}),
        may_gain_privileges=inner.get("allowPrivilegeEscalation") is not False,
        filtered=(setting("seccompProfile") or {}).get("type") == "RuntimeDefault",
    )


def build_capabilities(changes: Obj) -> int:
    """The mask of what is left of the default ones after `drop`, with `add` added."""
    dropped = {_plain(name) for name in changes.get("drop") or ()}
    added = {_plain(name) for name in changes.get("add") or ()}
    kept = set() if "ALL" in dropped else set(DEFAULT_CAPABILITIES) - dropped
    if "ALL" in added:
        kept |= set(CAPABILITIES) - REFUSED_CAPABILITIES
    else:
        for name in sorted(added & REFUSED_CAPABILITIES):
            raise Refusal("CreateContainerError", f"the lab does not grant {name} to a pod")
        kept |= added & set(CAPABILITIES)
    return sum(1 << number for number, name in enumerate(CAPABILITIES) if name in kept)


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")
