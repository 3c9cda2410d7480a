"""`ktnet exec` by an ordinary user: the command is in the cluster, the machine as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import request
from connect_client import HOST_STATE, OBJECTS, differences

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent
PYTHON = str(Path(sys.executable).resolve())
CURL = "curl -sS -m 20"
URL = "http://tomcat.demo.svc.cluster.local/"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"exec-{os.getpid()}") as lab:
        yield lab


@pytest.fixture
def kubeconfig(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """That of the lab, for everybody."""
    path = Path("/tmp") / f"ktnet-exec-{os.getpid()}.kubeconfig"
    path.write_text((lab.directory / "kubeconfig").read_text())
    path.chmod(0o644)
    yield path
    path.unlink()


def build_exec(lab: Lab, kubeconfig: Path, *command: str) -> list[str]:
    """The command line of nobody's `ktnet exec -- command` on the laptop."""
    become = (PYTHON, str(HERE / "ordinary_user.py"))
    options = ("--kubeconfig", str(kubeconfig), "-n", "demo", "--idle", "5")
    return lab.exec(*become, *KTNET, "exec", *options, "--", *command)


def run(lab: Lab, kubeconfig: Path, *command: str) -> subprocess.CompletedProcess[str]:
    line = build_exec(lab, kubeconfig, *command)
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def test_what_a_command_sees_and_that_nothing_else_does(lab: Lab, kubeconfig: Path) -> None:
    before = lab.census()
    done = run(lab, kubeconfig, "/usr/bin/python3", str(HERE / "sandbox_probe.py"), "-n x")
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert seen["pod"] == seen["full_name"]
    assert seen["pod"].startswith("tomcat-")
    assert seen["closed"] == seen["outside_closed"] == seen["outside_udp_closed"] == "ECONNREFUSED"
    assert seen["office"] == "192.168.64.80"
    assert seen["outside_tcp"] == "36"
    assert seen["outside_udp"] == "203.0.113.10"
    assert seen["cluster_udp"] == "EHOSTUNREACH"
    assert seen["ids"] == [65534, 65534]
    assert "nameserver 198.19.0.1\nsearch demo.svc.cluster.local" in seen["resolver"]
    assert seen["resolver"].rstrip().endswith("office.example")
    assert int(seen["capabilities"], 16) == 0
    assert seen["open"] == ["0", "1", "2", "3"], "only its own listing beside the three streams"
    assert seen["argument"] == "-n x"
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def test_the_machine_is_as_it_was_while_it_runs(lab: Lab, kubeconfig: Path) -> None:
    before = lab.census()
    line = build_exec(lab, kubeconfig, "sh", "-c", f"{CURL} {URL}; echo; read x; exit $x")
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert '"hostname"' in client.stdout.readline()
        assert differences(before, lab.census(), *HOST_STATE) == []
        assert lab.visit(URL).get("status") is None, "the laptop itself sees no cluster"
        client.stdin.write("3\n")
        client.stdin.flush()
        assert client.wait(30) == 3
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def test_static_binaries_and_parallel_children(lab: Lab, kubeconfig: Path) -> None:
    busybox = shutil.which("busybox")
    assert busybox, "a static busybox is part of what the tests need"
    headers = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in headers.stdout + headers.stderr
    script = (
        f"for i in 1 2 3 4 5 6 7 8; do {busybox} wget -q -O - {URL} & done; "
        f"for i in 1 2 3 4; do {CURL} {URL} & done; wait"
    )
    done = run(lab, kubeconfig, "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('"hostname"') == 12


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 42", 42), ("kill -KILL $$", -signal.SIGKILL), ("kill -TERM $$", -signal.SIGTERM)],
)
def test_it_ends_as_the_command_does(lab: Lab, kubeconfig: Path, script: str, code: int) -> None:
    done = run(lab, kubeconfig, "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_what_is_no_command(lab: Lab, kubeconfig: Path) -> None:
    done = run(lab, kubeconfig, "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "ktnet: no-such-command: No such file or directory\n"


def test_signals_reach_the_command(lab: Lab, kubeconfig: Path) -> None:
    before = lab.census()
    script = (
        "trap 'echo USR1' USR1; trap 'echo INT; exit 9' INT; trap 'echo TERM' TERM; echo ready; "
        "while :; do sleep 0.05; done"
    )
    line = build_exec(lab, kubeconfig, "sh", "-c", script)
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            client.send_signal(number)
            assert client.stdout.readline() == f"{number.name[3:]}\n"
        assert client.wait(30) == 9
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def test_the_command_goes_with_a_client_that_is_killed(lab: Lab, kubeconfig: Path) -> None:
    line = build_exec(lab, kubeconfig, "sh", "-c", "echo $$; exec sleep 1000")
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert int(client.stdout.readline())
        client.kill()
        # Its end closes the pipe, which nobody else holds.
        assert client.stdout.read() == ""


def test_forbidden_namespaces_name_the_sysctl() -> None:
    """In a user namespace of its own, whose limits bind nobody else."""
    script = (
        "import ctypes, os, sys; from pathlib import Path; from ktnet.host.namespaces import *\n"
        "unshare(CLONE_NEWUSER); keep_identity(0, 0)\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        f"os.execv(sys.executable, {[*KTNET, 'exec', '--', 'true']!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "user.max_user_namespaces is 0" in done.stderr
    assert "sudo sysctl user.max_user_namespaces=10000" in done.stderr


RELAY = """
import asyncio, os, sys
from ktnet.lab.node.syscalls import CLONE_NEWNET, setns

async def main(listener):
    async def serve(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("192.168.64.1", 6443)
        async def copy(source, target):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
    server = await asyncio.start_server(serve, sock=listener)
    print("ready", flush=True)
    await server.serve_forever()

import socket
setns(os.pidfd_open(int(sys.argv[1])), CLONE_NEWNET)
listener = socket.create_server(("127.0.0.1", 7443))
setns(os.pidfd_open(int(sys.argv[2])), CLONE_NEWNET)
asyncio.run(main(listener))
"""


def test_two_clusters_at_once(lab: Lab, kubeconfig: Path) -> None:
    """Their ranges are the same; the second API server is behind a port of the laptop."""
    with open_lab(f"exec2-{os.getpid()}") as other:
        pids = [str(pid_of_laptop(each)) for each in (lab, other)]
        relay = subprocess.Popen([sys.executable, "-c", RELAY, *pids], stdout=subprocess.PIPE)
        assert relay.stdout is not None
        other_config = kubeconfig.with_suffix(".second")
        try:
            assert relay.stdout.readline() == b"ready\n"
            text = (other.directory / "kubeconfig").read_text()
            text = text.replace("https://192.168.64.1:6443", "https://127.0.0.1:7443")
            other_config.write_text(
                text.replace("    server:", "    tls-server-name: kubernetes\n    server:")
            )
            other_config.chmod(0o644)
            command = ("sh", "-c", f"{CURL} {URL}; read x; {CURL} {URL}")
            both = [
                subprocess.Popen(
                    build_exec(lab, path, *command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for path in (kubeconfig, other_config)
            ]
            answers = [client.communicate("\n", timeout=60)[0] for client in both]
            assert [client.returncode for client in both] == [0, 0]
            for each, answer in zip((lab, other), answers, strict=True):
                first, second = map(json.loads, answer.split("\n", 1))
                assert first["hostname"] == second["hostname"] == pod_of(each)
        finally:
            relay.kill()
            relay.wait()
            relay.stdout.close()
            other_config.unlink(missing_ok=True)


def pid_of_laptop(lab: Lab) -> int:
    return int((lab.directory / "laptop-1.pid").read_text().split()[0])


def pod_of(lab: Lab) -> str:
    """The one tomcat of this lab."""
    kubeconfig = str(lab.directory / "kubeconfig")
    listing = lab.call(request, "GET", kubeconfig, "/api/v1/namespaces/demo/pods")
    names = [pod["metadata"]["name"] for pod in listing["items"]]
    (name,) = [name for name in names if name.startswith("tomcat-")]
    return str(name)
