"""`ktnet check` against environments that are broken in one way each: one ✗, and the right one.

And sessions that are started in the same environments: they end with the words of that very line.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_client import ask
from connect_client import HOST_STATE, OBJECTS, differences
from forked_command import Ended, ask_command, run_command
from name_scene import in_namespace, pid_of_laptop
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
    done = run(lab, "check", *words, "-o", "json", before=before)
    assert "Traceback" not in done.err
    return done.code, json.loads(done.out)["checks"]


def run(lab: Lab, *words: str, before: tuple[str, ...]) -> Ended:
    """`ktnet WORDS`, run by the program `before` where there is one."""
    if not before:
        return run_command(lab, *words)
    command = lab.exec(*before, *KTNET, *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return Ended(done.returncode, done.stdout, done.stderr)


SESSIONS = {
    "connect": ("connect",),
    "proxy": ("connect", "--mode", "proxy", "--listen", "127.0.0.1:10800"),
    "exec": ("exec",),
    "forward": ("forward", "svc/tomcat", ":80"),
    "run": ("run", "mine", "--expose", "8080"),
    "exchange": ("exchange", "tomcat", "--expose", "8080"),
    "mesh": ("mesh", "tomcat", "--expose", "8080", "--version-mark", "x"),
}
"""The command lines of what takes a tunnel; `exec` is to be followed by its command."""

CHECKS = {"proxy": ("connect", "--mode", "proxy")}
"""What is checked for them, where that isn't their name."""


def check_broken(
    lab: Lab,
    name: str,
    code: int,
    *options: str,
    before: tuple[str, ...] = (),
    session: str = "connect",
) -> dict[str, Any]:
    """The one ✗, which has to be `name`'s; a session ends with its words, hint and code."""
    what = CHECKS.get(session, (session,))
    found = check(lab, *what, *options, before=before)
    assert failing(found[1]) == [name], found[1]
    assert found[0] == code
    (failed,) = [each for each in found[1] if each["result"] == "fail"]
    words = options if "-n" in options else ("-n", "demo", *options)
    end = ("--", "true") if session == "exec" else ()
    done = run(lab, *SESSIONS[session], *words, *end, before=before)
    print(done.err, failed)
    hint = f"  hint: {failed['hint']}" if failed["hint"] else ""
    said = done.err.splitlines()
    assert f"ktnet: {failed['detail']}" in said
    assert not hint or hint in said
    assert done.code == code
    return dict(failed)


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
    text = ask_command(lab, "check", "-n", "demo", "--deep")
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
    path = changed_kubeconfig(lab, tmp_path, change)
    check_broken(lab, name, code, "--kubeconfig", path)


BREAKS = ("credentials", "shadow", "rights")
PAIRS = (
    [(session, name) for session in SESSIONS if session != "connect" for name in BREAKS]
    if "KTNET_SOAK" in os.environ
    else [
        *[("proxy", "credentials"), ("exec", "credentials"), ("forward", "rights")],
        *[("run", "rights"), ("exchange", "shadow"), ("mesh", "shadow")],
    ]
)


@pytest.mark.parametrize(("session", "name"), PAIRS)
def test_other_sessions_say_it_too(lab: Lab, tmp_path: Path, session: str, name: str) -> None:
    if name == "credentials":
        path = changed_kubeconfig(lab, tmp_path, BROKEN_CONFIGS["wrong-token"][0])
        check_broken(lab, name, 4, "--kubeconfig", path, session=session)
    elif name == "shadow":
        check_broken(lab, name, 11, "-n", "nowhere", session=session)
    else:
        path = str(lab.user("ada", *rules_without("get", "pods/log")))
        check_broken(lab, name, 5, "--kubeconfig", path, session=session)


def test_no_kubeconfig_and_no_yaml(lab: Lab, tmp_path: Path) -> None:
    check_broken(lab, "kubeconfig", 2, "--kubeconfig", str(tmp_path / "none"))
    (tmp_path / "broken").write_text("{")
    check_broken(lab, "kubeconfig", 2, "--kubeconfig", str(tmp_path / "broken"))
    check_broken(lab, "kubeconfig", 2, "--context", "nowhere")


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
    failed = check_broken(lab, "rights", 5, "--kubeconfig", str(path))
    assert f"{right.verb} {right.resource}" in failed["detail"]


def test_only_what_is_required(lab: Lab) -> None:
    path = lab.user("ada", *RULES)
    code, checks = check(lab, "--kubeconfig", str(path))
    assert (code, failing(checks)) == (0, [])
    assert result_of(checks, "rights-optional") == "warn"
    assert result_of(checks, "leftovers") == "skip"


def test_no_such_namespace(lab: Lab) -> None:
    check_broken(lab, "shadow", 11, "-n", "nowhere")


def test_a_service_account_that_is_not_there(lab: Lab) -> None:
    failed = check_broken(lab, "shadow", 6, "--service-account", "nobody")
    assert 'serviceaccount "nobody" not found' in failed["detail"]


@contextmanager
def quota(lab: Lab, hard: dict[str, str]) -> Iterator[None]:
    """On demo."""
    path = "/api/v1/namespaces/demo/resourcequotas"
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}}
    ask(lab, "POST", path, body | {"spec": {"hard": hard}})
    try:
        yield
    finally:
        ask(lab, "DELETE", f"{path}/tight")


def test_a_quota_that_is_used_up(lab: Lab) -> None:
    with quota(lab, {"count/pods": "1"}):
        failed = check_broken(lab, "shadow", 6)
    assert "exceeded quota: tight" in failed["detail"]


def test_a_quota_of_jobs(lab: Lab) -> None:
    with quota(lab, {"count/jobs.batch": "0"}):
        check_broken(lab, "shadow", 6)


# --- the machine ---


def without_net_admin() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux is part of what the tests need"
    return (setpriv, "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")


def test_no_net_admin(lab: Lab) -> None:
    check_broken(lab, "rights-here", 3, before=without_net_admin())


def test_no_tun_device(lab: Lab) -> None:
    hide = 'mount -t tmpfs none /dev/net && exec "$@"'
    before = ("unshare", "-m", "sh", "-c", hide, "sh")
    check_broken(lab, "tun", 3, before=before)
    check_broken(lab, "tun", 3, before=before, session="exec")


def test_something_else_in_place_of_the_device(lab: Lab) -> None:
    put = 'mount -t tmpfs none /dev/net && touch /dev/net/tun && exec "$@"'
    check_broken(lab, "tun", 3, before=("unshare", "-m", "sh", "-c", put, "sh"))


def test_no_namespaces_of_ones_own(lab: Lab) -> None:
    """In a user namespace whose owner may make no further ones."""
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    before = ("unshare", "-Ur", "sh", "-c", forbid, "sh")
    failed = check_broken(lab, "user-namespaces", 3, before=before, session="exec")
    assert "max_net_namespaces is 0" in failed["detail"]


def test_an_ordinary_user_without_sudo(lab: Lab) -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv
    user = ("--reuid", "65534", "--regid", "65534", "--clear-groups")
    with public_directory() as directory:
        config = directory / "kubeconfig"
        shutil.copy(lab.directory / "kubeconfig", config)
        os.chown(config, 65534, 65534)
        before = (setpriv, *user, "env", "PATH=/none")
        check_broken(lab, "rights-here", 3, "--kubeconfig", str(config), before=before)


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
        check_broken(lab, "routes", 8)
    finally:
        lab.run("ip", "address", "del", "10.0.0.1/8", "dev", "lo")


def test_a_firewall_that_eats_what_comes_out_of_a_tun(lab: Lab) -> None:
    laptop = pid_of_laptop(lab)
    chain = "add chain inet wall in { type filter hook input priority 0; policy drop; }"
    accepted = ('iif "lo" accept', 'iifname "eth0" accept')
    rules = [f"add rule inet wall in {rule}" for rule in accepted]
    in_namespace(laptop, "add table inet wall", chain, *rules)
    try:
        check_broken(lab, "firewall", 8)
    finally:
        in_namespace(laptop, "delete table inet wall")
