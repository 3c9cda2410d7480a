"""`ktnet connect --mode proxy`: the cluster by SOCKS5 and HTTP, this machine as it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from connect_client import (
    CONNECT,
    HOST_STATE,
    OBJECTS,
    Client,
    differences,
    open_client,
    start_client,
)
from forked_command import ask_command

from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

URL = "http://tomcat.demo/"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"proxy-{os.getpid()}") as lab:
        yield lab


def curl(lab: Lab, *options: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("curl")
    assert program, "curl is part of what the tests need"
    command = lab.exec(program, "-sS", "-m", "20", "--noproxy", "", *options)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_services_by_either_protocol_and_nothing_changed(lab: Lab) -> None:
    before = lab.census()
    with open_client(lab, "--mode", "proxy", "--listen", "1080") as client:
        client.wait_for("ready")
        assert differences(before, lab.census(), *HOST_STATE) == []
        for options in (
            ("--socks5-hostname", "127.0.0.1:1080"),
            ("--proxy", "http://127.0.0.1:1080"),
            ("--proxytunnel", "--proxy", "http://127.0.0.1:1080"),
        ):
            done = curl(lab, *options, "-o", "/dev/null", "-w", "%{http_code}", URL)
            assert (done.stdout, done.stderr) == ("200", "")
        exports = [line for line in client.lines if line.startswith("export ")]
        assert run_with_exports(lab, exports) == "200"
        refused = curl(lab, "--socks5-hostname", "127.0.0.1:1080", "http://tomcat.demo:81/")
        assert refused.returncode != 0
        unknown = curl(lab, "--proxy", "http://127.0.0.1:1080", "http://nobody.demo/")
        assert "does not know this name" in unknown.stdout
        code, err = client.end()
    assert (code, err) == (0, "")
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def run_with_exports(lab: Lab, exports: list[str]) -> str:
    """What a shell gets that has been given the lines that were printed."""
    script = "\n".join([*exports, f"curl -sS -o /dev/null -w '%{{http_code}}' {URL}"])
    return lab.run("/bin/sh", "-c", script)


def test_password_is_asked_for_and_never_shown(lab: Lab) -> None:
    os.environ["KTNET_PROXY_PASSWORD"] = "s3cret-canary"
    try:
        with start_client(lab, "--mode", "proxy", "--proxy-user", "alice", "-v") as client:
            client.wait_for("ready")
            socks = ("--socks5-hostname", "127.0.0.1:1080", "-o", "/dev/null")
            assert curl(lab, *socks, URL).returncode != 0
            allowed = curl(lab, *socks, "--proxy-user", "alice:s3cret-canary", URL)
            assert allowed.returncode == 0, allowed.stderr
            assert "s3cret" not in " ".join(client.read_command_line())
            _, err = client.end()
            assert "s3cret" not in "".join(client.lines) + err
    finally:
        del os.environ["KTNET_PROXY_PASSWORD"]


def test_others_are_not_let_in_without_a_password(lab: Lab) -> None:
    command = lab.exec(*CONNECT, "--mode", "proxy", "--listen", "0.0.0.0:1080")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search("others could use the proxy", done.stderr)


def test_port_in_use(lab: Lab) -> None:
    with open_client(lab, "--mode", "proxy") as first:
        first.wait_for("ready")
        with open_client(lab, "--mode", "proxy") as second:
            assert isinstance(second, Client)
            code, err = second.wait()
        assert code == 10
        assert "127.0.0.1:1080" in err
        first.end()


def test_detached_it_stays_until_it_is_ended(lab: Lab) -> None:
    before = lab.census()
    options = ("--idle", "5", "--mode", "proxy", "--listen", "1080", "--detach")
    done = subprocess.run(
        lab.exec(*CONNECT, *options), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "detached (pid " in done.stdout
    assert "export ALL_PROXY=" in done.stdout
    found = curl(lab, "--socks5-hostname", "127.0.0.1:1080", "-o", "/dev/null", URL)
    assert found.returncode == 0, found.stderr
    ask_command(lab, "disconnect")
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def test_without_what_only_linux_and_posix_have(lab: Lab) -> None:
    """Through the whole path, with a Python that has no more than what is everywhere."""
    before = lab.census()
    program = (sys.executable, str(Path(__file__).with_name("elsewhere.py")))
    options = ("-n", "demo", "--idle", "5", "--mode", "proxy", "--listen", "1080")
    line = lab.exec(*program, "connect", *options)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        client = Client(child)
        client.wait_for("ready")
        found = curl(lab, "--socks5-hostname", "127.0.0.1:1080", "-o", "/dev/null", URL)
        assert found.returncode == 0, found.stderr
        assert "no session" in ask_command(lab, "status", "--local")
        assert client.end() == (0, "")
    done = subprocess.run(
        lab.exec(*program, "connect", *options, "--detach"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--detach" in done.stderr
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []
