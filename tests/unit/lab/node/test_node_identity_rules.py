"""Which user and which capabilities a security context leads to."""

import pytest

from ktnet.lab.node.identity import CAPABILITIES, build_capabilities, build_identity
from ktnet.lab.node.images import Image
from ktnet.lab.node.refusal import Refusal

ROOT = Image(entrypoint=(), command=(), entries=())
NOBODY = Image(entrypoint=(), command=(), entries=(), uid=65534, gid=65534)


def identify(image=ROOT, pod=None, **container):
    meta = {"name": "p", "namespace": "n", "uid": "u"}
    spec = {"securityContext": pod or {}}
    return build_identity(
        {"metadata": meta, "spec": spec}, {"name": "c", "securityContext": container}, image
    )


@pytest.mark.parametrize(
    ("image", "pod", "container", "expected"),
    [
        (ROOT, {}, {}, (0, 0, (0,))),
        (NOBODY, {}, {}, (65534, 65534, (65534,))),
        (NOBODY, {"runAsUser": 1000}, {}, (1000, 0, (0,))),
        (ROOT, {"runAsUser": 65534}, {}, (65534, 65534, (65534,))),
        (ROOT, {"runAsUser": 1, "runAsGroup": 2}, {"runAsUser": 3}, (3, 2, (2,))),
        (ROOT, {"supplementalGroups": [7, 8], "fsGroup": 7}, {}, (0, 0, (0, 7, 8))),
    ],
)
def test_user_and_groups(image, pod, container, expected):
    found = identify(image, pod, **container)
    assert (found.uid, found.gid, found.groups) == expected


def test_non_root_is_demanded():
    assert identify(NOBODY, {"runAsNonRoot": True}).uid == 65534
    with pytest.raises(Refusal, match="image will run as root"):
        identify(ROOT, {"runAsNonRoot": True})
    with pytest.raises(Refusal, match="runAsUser breaks non-root policy"):
        identify(NOBODY, {"runAsNonRoot": True}, runAsUser=0)
    assert identify(ROOT, {"runAsNonRoot": True}, runAsNonRoot=False).uid == 0


def test_privilege_escalation_is_allowed_unless_forbidden():
    assert identify().may_gain_privileges
    assert not identify(allowPrivilegeEscalation=False).may_gain_privileges


def test_capabilities():
    assert build_capabilities({}) == 0xA80425FB
    assert build_capabilities({"drop": ["ALL"]}) == 0
    bind = 1 << CAPABILITIES.index("NET_BIND_SERVICE")
    assert bind == 1 << 10
    assert build_capabilities({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}) == bind
    assert build_capabilities({"drop": ["CAP_KILL"]}) == 0xA80425FB & ~(1 << 5)
    assert build_capabilities({"add": ["NET_ADMIN"]}) == 0xA80425FB | 1 << 12


@pytest.mark.parametrize("name", ["SYS_ADMIN", "CAP_SYS_MODULE", "sys_ptrace"])
def test_capabilities_over_the_machine_are_refused(name):
    with pytest.raises(Refusal, match="does not grant"):
        build_capabilities({"add": [name]})
    assert not build_capabilities({"add": ["ALL"]}) & 1 << CAPABILITIES.index("SYS_ADMIN")
