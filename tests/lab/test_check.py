"""`ktnet check` against environments that are broken in one way each: one ✗, and the right one."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from connect_client import HOST_STATE, OBJECTS, differences
from ordinary_user import public_directory

from ktnet.cluster.rights import build_roles, list_required
from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

RULES = build_roles("connect")[0]["rules"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"check-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module", autouse=True)
def unchanged(lab: Lab) -> Iterator[None]:
    """Nothing that is checked changes the machine or the cluster, in all of these tests."""
    before = lab.census()
    yield
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def check(lab: Lab, *options: str, before: tuple[str, ...] = ()) -> tuple[int, list[dict]]:
    """Exit code and checks; `before` is a program that the command is run by."""
    words = options if "-n" in options else ("-n", "demo", *options)
    command = lab.exec(*before, *KTNET, "check", *words, "-o", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["checks"]


def failing(checks: list[dict[str, Any]]) -> list[str]:
    for each in checks:
        assert each["result"] != "fail" or each["detail"], each
    return [each["name"] for each in checks if each["result"] == "fail"]


def result_of(checks: list[dict[str, Any]], name: str) -> str:
    return next(each["result"] for each in checks if each["name"] == name)


def test_a_sound_environment_passes(lab: Lab) -> None:
    code, checks = check(lab)
    assert (code, failing(checks)) == (0, [])
    names = [each["name"] for each in checks]
    for name in ("python", "packages", "tun", "rights-here", "kubeconfig", "api-server"):
        assert name in names
    for name in ("credentials", "clock", "server-version", "rights", "shadow", "ranges", "routes"):
        assert result_of(checks, name) == "ok", name
    assert result_of(checks, "leftovers") == "ok"
    assert result_of(checks, "firewall") == "ok"


def test_it_is_read_by_people_too(lab: Lab) -> None:
    text = lab.run(*KTNET, "check", "-n", "demo", "--deep")
    assert "✓ api-server" in text
    assert "✗" not in text
    assert "round trip" in text


def test_proxy_mode_needs_nothing_of_the_machine(lab: Lab) -> None:
    code, checks = check(lab, "--mode", "proxy", before=without_net_admin())
    assert (code, failing(checks)) == (0, [])
    assert result_of(checks, "tun") == "skip"


# --- the kubeconfig and the API server ---


def changed_kubeconfig(lab: Lab, tmp_path: Path, change) -> str:
    config = yaml.safe_load((lab.directory / "kubeconfig").read_text())
    change(config["clusters"][0]["cluster"], config["users"][0]["user"])
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


OTHER_CA = base64.b64encode(
    b"""-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUIGZTMmQhDKHWC+ZpPu6NwxBvRFEwCgYIKoZIzj0EAwIw
-----END CERTIFICATE-----
"""
).decode()

BROKEN_CONFIGS = {
    "server-down": (lambda c, u: c.update(server="https://192.168.64.1:1"), "api-server", 4),
    "server-unknown": (lambda c, u: c.update(server="https://api.invalid:6443"), "api-server", 4),
    "proxy-down": (lambda c, u: c.update({"proxy-url": "http://127.0.0.1:9"}), "credentials", 4),
    "wrong-token": (lambda c, u: u.update(token="wrong"), "credentials", 4),
    "wrong-name": (lambda c, u: c.update({"tls-server-name": "other.example"}), "credentials", 4),
    "no-server": (lambda c, u: c.pop("server"), "kubeconfig", 2),
    "broken-ca": (
        lambda c, u: c.update({"certificate-authority-data": OTHER_CA}),
        "kubeconfig",
        2,
    ),
    "failing-plugin": (
        lambda c, u: (
            u.clear(),
            u.update(
                exec={
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": "/bin/false",
                    "interactiveMode": "Never",
                }
            ),
        ),
        "credentials",
        4,
    ),
}


@pytest.mark.parametrize("broken", BROKEN_CONFIGS)
def test_broken_kubeconfigs(lab: Lab, tmp_path: Path, broken: str) -> None:
    change, name, code = BROKEN_CONFIGS[broken]
    found = check(lab, "--kubeconfig", changed_kubeconfig(lab, tmp_path, change))
    assert failing(found[1]) == [name]
    assert found[0] == code


def test_no_kubeconfig_and_no_yaml(lab: Lab, tmp_path: Path) -> None:
    code, checks = check(lab, "--kubeconfig", str(tmp_path / "none"))
    assert (code, failing(checks)) == (2, ["kubeconfig"])
    (tmp_path / "broken").write_text("{")
    code, checks = check(lab, "--kubeconfig", str(tmp_path / "broken"))
    assert (code, failing(checks)) == (2, ["kubeconfig"])
    code, checks = check(lab, "--context", "nowhere")
    assert (code, failing(checks)) == (2, ["kubeconfig"])


# --- rights and the namespace ---


def rules_without(verb: str, resource: str) -> list[dict[str, Any]]:
    rules = []
    for rule in RULES:
        verbs = [each for each in rule["verbs"] if (each, rule["resources"][0]) != (verb, resource)]
        if verbs:
            rules.append(rule | {"verbs": verbs})
    return rules


@pytest.mark.parametrize(
    "right", list_required("connect")[::4], ids=lambda right: f"{right.verb}-{right.resource}"
)
def test_a_right_less(lab: Lab, right: Any) -> None:
    path = lab.user("ada", *rules_without(right.verb, right.resource))
    code, checks = check(lab, "--kubeconfig", str(path))
    assert (code, failing(checks)) == (5, ["rights"])
    detail = next(each["detail"] for each in checks if each["name"] == "rights")
    assert f"{right.verb} {right.resource}" in detail


def test_only_what_is_required(lab: Lab) -> None:
    path = lab.user("ada", *RULES)
    code, checks = check(lab, "--kubeconfig", str(path))
    assert (code, failing(checks)) == (0, [])
    assert result_of(checks, "rights-optional") == "warn"
    assert result_of(checks, "leftovers") == "skip"


def test_no_such_namespace(lab: Lab) -> None:
    code, checks = check(lab, "-n", "nowhere")
    assert (code, failing(checks)) == (11, ["shadow"])


def test_what_pod_security_would_not_admit(lab: Lab) -> None:
    code, checks = check(lab, "--service-account", "nobody")
    assert failing(checks) in ([], ["shadow"])
    assert code in (0, 6)


# --- the machine ---


def without_net_admin() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux is part of what the tests need"
    return (setpriv, "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")


def test_no_net_admin(lab: Lab) -> None:
    code, checks = check(lab, before=without_net_admin())
    assert (code, failing(checks)) == (3, ["rights-here"])


def test_no_tun_device(lab: Lab) -> None:
    hide = 'mount -t tmpfs none /dev/net && exec "$@"'
    code, checks = check(lab, before=("unshare", "-m", "sh", "-c", hide, "sh"))
    assert (code, failing(checks)) == (3, ["tun"])


def test_an_ordinary_user_without_sudo(lab: Lab) -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv
    user = ("--reuid", "65534", "--regid", "65534", "--clear-groups")
    with public_directory() as directory:
        config = directory / "kubeconfig"
        shutil.copy(lab.directory / "kubeconfig", config)
        os.chown(config, 65534, 65534)
        before = (setpriv, *user, "env", "PATH=/none")
        code, checks = check(lab, "--kubeconfig", str(config), before=before)
    assert (code, failing(checks)) == (3, ["rights-here"])


def test_routes_that_are_in_the_way_are_told(lab: Lab) -> None:
    lab.run("ip", "route", "add", "10.96.0.0/24", "dev", "lo")
    try:
        code, checks = check(lab)
    finally:
        lab.run("ip", "route", "del", "10.96.0.0/24", "dev", "lo")
    assert (code, failing(checks)) == (0, [])
    assert any("10.96.0.0/24" in each["detail"] for each in checks if each["result"] == "warn")


def test_nothing_is_left_to_capture(lab: Lab) -> None:
    lab.run("ip", "address", "add", "10.0.0.1/8", "dev", "lo")
    try:
        code, checks = check(lab)
    finally:
        lab.run("ip", "address", "del", "10.0.0.1/8", "dev", "lo")
    assert (code, failing(checks)) == (8, ["routes"])
