"""What is said where an ordinary user may not have namespaces."""

import errno
import os

import pytest

from ktnet.host import sandbox


@pytest.mark.parametrize(
    ("name", "value", "mended"),
    [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("user.max_user_namespaces", "0", "10000"),
        ("user.max_net_namespaces", "0", "10000"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ],
)
def test_the_sysctl_that_forbids_it_is_named(monkeypatch, name, value, mended):
    allowing = {each: "1" if bad == "0" else "0" for each, bad in sandbox._SYSCTLS}
    monkeypatch.setattr(sandbox, "_read_sysctl", (allowing | {name: value}).get)
    error = sandbox.build_refusal(PermissionError(errno.EPERM, os.strerror(errno.EPERM)))
    assert error.exit_code == 3
    assert f"({name} is {value})" in error.message
    assert f"sudo sysctl {name}={mended}" in error.hint
    assert "--mode proxy" in error.hint


def test_without_such_a_sysctl_a_container_is_suspected(monkeypatch):
    monkeypatch.setattr(sandbox, "_read_sysctl", lambda _: "")
    error = sandbox.build_refusal(PermissionError(errno.EPERM, os.strerror(errno.EPERM)))
    assert "seccomp" in error.hint
    assert "--mode proxy" in error.hint
