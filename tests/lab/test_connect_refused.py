"""What `connect` can't begin with: each a line with a cause, a code of its own, nothing left."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_client import ask
from connect_client import CONNECT, open_client, start_client
from forked_command import ask_command, run_command
from unchanged import before, nothing_is_left  # noqa: F401  (of every test here)

from ktnet.lab.api.tls import build_certificates
from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

API_SERVER = "192.168.64.1"
FALSE_SHADOWS = ("other-key", "other-version", "garbage", "ended", "crash")
"""Kinds of them: see false_shadow.py."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One whose registry also has pods that only look like a shadow."""
    images = []
    for kind in FALSE_SHADOWS:
        directory = tmp_path_factory.mktemp(kind)
        program = str(Path(__file__).parent / "false_shadow.py")
        config = {"User": "65534:65534", "Entrypoint": [sys.executable, program, kind]}
        (directory / "config.json").write_text(json.dumps(config))
        (directory / "rootfs").symlink_to("/")
        images.append(f"{kind}:1={directory}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTNET_LAB_IMAGES", ",".join(images))
        with open_lab(f"refused-{os.getpid()}") as lab:
            yield lab


def fails(lab: Lab, *command: str, lines: int = 2) -> tuple[int, str]:
    """Exit code and stderr of a command on the laptop that has to fail without a traceback."""
    done = subprocess.run(lab.exec(*command), capture_output=True, text=True, check=False)
    expect_few_words(done.stderr, lines)
    return done.returncode, done.stderr


def expect_few_words(said: str, lines: int = 2) -> None:
    assert "Traceback" not in said
    assert len(said.splitlines()) <= lines, said
    assert said.startswith("ktnet: ")


def connect_fails(lab: Lab, *options: str) -> tuple[int, str]:
    """The same of `ktnet connect -n demo` with these options."""
    ended = run_command(lab, "connect", "-n", "demo", *options)
    expect_few_words(ended.err)
    return ended.code, ended.err


def read_config(lab: Lab) -> dict:
    return yaml.safe_load((lab.directory / "kubeconfig").read_text())


def with_config(lab: Lab, tmp_path: Path, config: dict | str, *options: str) -> tuple[int, str]:
    path = tmp_path / "kubeconfig"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return connect_fails(lab, "--kubeconfig", str(path), *options)


def with_plugin(lab: Lab, tmp_path: Path, code: str, *options: str) -> tuple[int, str]:
    plugin = tmp_path / "login"
    plugin.write_text(f"#!{sys.executable}\n{code}\n")
    plugin.chmod(0o755)
    config = read_config(lab)
    version = "client.authentication.k8s.io/v1"
    fields = {"apiVersion": version, "command": "./login", "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": fields}
    return with_config(lab, tmp_path, config, *options)


# --- 2, 4: configuration and credentials ---


def test_no_kubeconfig(lab: Lab) -> None:
    code, said = fails(lab, "env", "-u", "KUBECONFIG", "HOME=/nonexistent", *CONNECT)
    assert (code, "no kubeconfig" in said) == (2, True)


@pytest.mark.parametrize("text", ["clusters: [", "clusters: 7", "\0", "{"])
def test_a_broken_kubeconfig(lab: Lab, tmp_path: Path, text: str) -> None:
    code, said = with_config(lab, tmp_path, text)
    assert (code, str(tmp_path) in said) == (2, True)


def test_a_failing_plugin_is_quoted(lab: Lab, tmp_path: Path) -> None:
    code, said = with_plugin(lab, tmp_path, "raise SystemExit('log in to the shop first')")
    assert code == 4
    assert "exec plugin login failed with exit code 1: log in to the shop first" in said


def test_a_hanging_plugin_is_quoted(lab: Lab, tmp_path: Path) -> None:
    text = "import sys, time\nprint('see your phone', file=sys.stderr, flush=True)\ntime.sleep(600)"
    code, said = with_plugin(lab, tmp_path, text, "--timeout", "3")
    assert code == 4
    assert "gave no credentials within 3 s: see your phone" in said


def test_another_clusters_authority(lab: Lab, tmp_path: Path) -> None:
    config = read_config(lab)
    cluster = config["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]  # the system's own are trusted then
    code, said = with_config(lab, tmp_path, config)
    assert (code, "is not trusted" in said) == (4, True)


def test_an_authority_of_the_same_name(lab: Lab, tmp_path: Path) -> None:
    """As of a cluster that was made anew at the same address."""
    config = read_config(lab)
    authority = build_certificates([API_SERVER]).ca_pem.encode()
    cluster = config["clusters"][0]["cluster"]
    cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    code, said = with_config(lab, tmp_path, config)
    assert (code, "is not trusted" in said) == (4, True)


def test_an_api_server_that_does_not_answer(lab: Lab, tmp_path: Path) -> None:
    """An address at which nobody is."""
    config = read_config(lab)
    config["clusters"][0]["cluster"]["server"] = "https://192.168.64.77:6443"
    code, said = with_config(lab, tmp_path, config)
    assert (code, "192.168.64.77" in said) == (4, True)


# --- 5: rights ---


def test_a_right_less(lab: Lab) -> None:
    """One of many; all of them one after the other are in the unit tests, in one process."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    path = lab.user("ada", rule)
    code, said = connect_fails(lab, "--kubeconfig", str(path))
    assert code == 5
    assert "not allowed to create jobs, " in said
    assert "in namespace demo" in said


def test_the_documented_role_is_enough(lab: Lab) -> None:
    text = (Path(__file__).parents[2] / "docs" / "rights.md").read_text()
    role = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    path = lab.user("bea", *role["rules"])
    with open_client(lab, "--kubeconfig", str(path)) as client:
        client.wait_for("ready")
        assert client.end() == (0, "")
    assert sum("no right to list nodes" in line for line in client.lines) == 1
    assert sum("no right to list Services" in line for line in client.lines) == 1


# --- 6: the shadow ---


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--image", "no-such-image:1"), "image no-such-image:1 can't be had"),
        (("--node-selector", "disk=none"), "no node takes the shadow pod: 0/1 nodes"),
    ],
    ids=["image", "unschedulable"],
)
def test_a_shadow_that_cannot_be(lab: Lab, options: tuple[str, ...], says: str) -> None:
    code, said = connect_fails(lab, *options)
    assert code == 6
    assert says in said


def test_a_namespace_that_admits_no_such_pod(lab: Lab) -> None:
    """PodSecurity forbids what the user's own annotation asks for."""
    key = "container.apparmor.security.beta.kubernetes.io/shadow"
    label_namespace(lab, "restricted")
    try:
        code, said = connect_fails(lab, "--annotation", f"{key}=unconfined")
    finally:
        label_namespace(lab, None)
    assert code == 6
    assert 'violates PodSecurity "restricted:latest": forbidden AppArmor profile' in said
    assert "PodSecurity, webhook" in said


@pytest.mark.parametrize(
    ("hard", "says"),
    [
        ({"pods": "0"}, "exceeded quota: full, requested: pods=1, used: pods="),
        ({"limits.cpu": "1"}, "failed quota: full: must specify limits.cpu for: shadow"),
    ],
    ids=["no-pod", "unsaid"],
)
def test_a_namespace_whose_quota_is_used_up(lab: Lab, hard: dict[str, str], says: str) -> None:
    """Told at once: long before the time for a shadow to come up is over."""
    path = "/api/v1/namespaces/demo/resourcequotas"
    ask(lab, "POST", path, {"metadata": {"name": "full"}, "spec": {"hard": hard}})
    try:
        code, said = connect_fails(lab, "--timeout", "600")
    finally:
        ask(lab, "DELETE", f"{path}/full")
    assert code == 6
    assert says in said


def label_namespace(lab: Lab, level: str | None) -> None:
    labels = {"pod-security.kubernetes.io/enforce": level}
    ask(lab, "PATCH", "/api/v1/namespaces/demo", {"metadata": {"labels": labels}})


# --- 6, 7: what runs there is no shadow of ours ---


@pytest.mark.parametrize(
    ("kind", "code", "says", "hint"),
    [
        ("crash", 6, "the shadow ends at once, exit code 3", "ktnet's own version"),
        (
            "other-version",
            7,
            "the shadow speaks protocol version 999, this client 1",
            "own version",
        ),
        ("other-key", 7, "another host key than the one in its log", "reading along"),
        ("garbage", 7, "what answered is not a shadow", ""),
        ("ended", 7, "cannot log in to the shadow", ""),
    ],
)
def test_a_false_shadow(lab: Lab, kind: str, code: int, says: str, hint: str) -> None:
    exit_code, said = connect_fails(lab, "--image", f"{kind}:1")
    assert exit_code == code, said
    assert says in said
    assert hint in said


# --- 10: somebody else ---


def test_a_second_session_makes_no_shadow(lab: Lab, tmp_path: Path) -> None:
    """Neither on this cluster nor on another one: it knows before."""
    config = read_config(lab)
    config["clusters"][0]["cluster"]["server"] = f"https://{API_SERVER}:6444"
    with open_client(lab) as first:
        first.wait_for("ready")
        jobs = lab.census()["jobs"]
        started = subprocess.Popen(lab.exec(*CONNECT), stderr=subprocess.PIPE, text=True)
        seen = {str(lab.census()["jobs"])}
        while started.poll() is None:
            seen.add(str(lab.census()["jobs"]))
        assert started.stderr is not None
        with started.stderr:
            assert "another ktnet session" in started.stderr.read()
        assert started.returncode == 10
        assert seen == {str(jobs)}
        # That one isn't even asked.
        code, said = with_config(lab, tmp_path, config)
        assert (code, "ktnet disconnect" in said) == (10, True)
        assert first.end() == (0, "")


# --- detached ---


def test_detached_it_returns_when_it_is_ready(lab: Lab) -> None:
    options = (
        "--label",
        "team=a",
        "--annotation",
        "note=b c",
        "--resources",
        "cpu=20m,memory=80Mi",
    )
    selector = ("--node-selector", "kubernetes.io/os=linux", "--service-account", "default")
    # Whoever captures what it says is not kept waiting: it has ended, its helper not.
    done = subprocess.run(
        lab.exec(*CONNECT, "--detach", *options, *selector),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "detached (pid " in done.stdout
    try:
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        assert ask_command(lab, "version").splitlines()[1].startswith("shadow 0.1.0, image ktnet-")
        pods = ask(lab, "GET", "/api/v1/namespaces/demo/pods?labelSelector=team%3Da")
        (pod,) = pods["items"]
        assert pod["metadata"]["annotations"]["note"] == "b c"
        assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
        wanted = {"cpu": "20m", "memory": "80Mi"}
        resources = pod["spec"]["containers"][0]["resources"]
        assert resources == {"requests": wanted, "limits": wanted}
    finally:
        ask_command(lab, "disconnect")
    assert ask_command(lab, "status").startswith("no sessions\n")


def test_detached_it_fails_in_the_foreground(lab: Lab) -> None:
    code, said = fails(lab, *CONNECT, "--detach", "--image", "no-such-image:1")
    assert (code, "no-such-image:1" in said) == (6, True)


def test_detached_it_can_be_interrupted_until_it_is_ready(lab: Lab) -> None:
    with start_client(lab, "--detach") as client:
        client.wait_for("cluster")
        code, _ = client.end(signal.SIGINT)
    assert code == 130


# --- limits of this machine ---


def test_few_descriptors(lab: Lab) -> None:
    """The usual soft limit; more is there for the asking."""
    with start_client(lab, around=("sh", "-c", 'ulimit -Sn 1024; exec "$@"', "-")) as client:
        client.wait_for("ready")
        assert lab.call(open_many, 1200) == 1200
        assert client.end()[0] == 0


def open_many(count: int) -> int:
    """How many connections are open at once to a Service."""
    import resource  # noqa: PLC0415

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    streams = []
    try:
        for _ in range(count):
            streams.append(socket.create_connection(("streams.demo", 7001), 10.0))  # noqa: PERF401
    finally:
        for stream in streams:
            stream.close()
    return len(streams)


def test_a_full_disk(lab: Lab) -> None:
    """Where the helper can't write down how to undo a change, it makes none."""
    fill = (
        "mkdir -p /run/ktnet && mount -t tmpfs -o size=4k,mode=700 none /run/ktnet; "
        'head -c 8k /dev/zero > /run/ktnet/full 2> /dev/null; exec "$@"'
    )
    code, said = fails(lab, "unshare", "-m", "sh", "-c", fill, "-", *CONNECT)
    assert code == 8
    assert "No space left on device" in said


def test_a_read_only_etc(lab: Lab) -> None:
    """As in containers whose root is read-only."""
    read_only = (
        "mount --rbind /etc /etc && mount -o remount,bind,ro /etc && "
        "mount -o remount,bind,ro /etc/resolv.conf; "
        'touch /etc/x 2> /dev/null && exit 99; exec "$@"'
    )
    code, said = fails(lab, "unshare", "-m", "sh", "-c", read_only, "-", *CONNECT)
    assert code == 9
    assert "/etc/resolv.conf can't be changed: Read-only file system" in said
