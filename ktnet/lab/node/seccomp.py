"""The system calls that a pod with `seccompProfile: RuntimeDefault` is refused.

Of containerd's profile (contrib/seccomp/seccomp_default.go) that part which a process without
CAP_SYS_ADMIN feels: namespaces and mounts are EPERM, as are what speaks to the kernel itself (bpf,
keys, modules); clone3 is ENOSYS, so that libraries fall back on clone, whose flags can be read. The
rest of that list refuses what nothing here asks for.
"""

from __future__ import annotations

import errno
import struct

# uapi/linux/audit.h, asm/unistd.h of each machine.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
REFUSED = {
    "x86_64": {
        "mount": 165,
        "umount2": 166,
        "pivot_root": 155,
        "unshare": 272,
        "setns": 308,
        "bpf": 321,
        "perf_event_open": 298,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "init_module": 175,
        "finit_module": 313,
        "delete_module": 176,
        "kexec_load": 246,
        "reboot": 169,
        "swapon": 167,
        "swapoff": 168,
    },
    "aarch64": {
        "mount": 40,
        "umount2": 39,
        "pivot_root": 41,
        "unshare": 97,
        "setns": 268,
        "bpf": 280,
        "perf_event_open": 241,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "init_module": 105,
        "finit_module": 273,
        "delete_module": 106,
        "kexec_load": 104,
        "reboot": 142,
        "swapon": 224,
        "swapoff": 225,
    },
}
NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEW* of uapi/linux/sched.h, but for CLONE_NEWTIME, which clone can't be given."""

# uapi/linux/bpf_common.h and seccomp.h.
_LOAD, _IF_EQUAL, _IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000


def build_filter(machine: str) -> bytes:
    """The program for seccomp(2) as an array of sock_filter; KeyError for an unknown machine."""
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for number in sorted(REFUSED[machine].values()):
        program += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | errno.EPERM)]
    program += [
        (_IF_EQUAL, 0, 1, CLONE3),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
        (_IF_EQUAL, 0, 3, CLONE[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_IF_SET, 0, 1, NAMESPACE_FLAGS),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in program)
