"""Everything that goes wrong ends with its exit code, a line and a hint; and nothing is left."""

import base64
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import ask
from connect_client import (
    CONNECT,
    HOST_STATE,
    IDLE_S,
    OBJECTS,
    TTL_S,
    Client,
    differences,
    find_shadow,
    open_ready_client,
    read_session,
    start_client,
    wait_until,
)
from forked_command import ask_command
from ordinary_user import public_directory

from ktnet.lab.harness import KTNET, Lab, open_lab
from ktnet.wire.dnsmessage import parse_id

pytestmark = pytest.mark.lab

SOAK = "KTNET_SOAK" in os.environ
KILLS = 100 if SOAK else 3
API_SERVER = "192.168.64.1"


SEEN_BY_OTHERS = (
    "/api/v1/namespaces/demo/pods",
    "/api/v1/namespaces/demo/events",
    "/apis/batch/v1/namespaces/demo/jobs",
    "/apis/coordination.k8s.io/v1/namespaces/demo/leases",
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"faults-{os.getpid()}", "--laptops", "2") as lab:
        yield lab


def left_behind(lab: Lab, before: dict, *kinds: str) -> list[str]:
    return differences(before, lab.census(), *(kinds or HOST_STATE + OBJECTS))


# --- it can't begin ---


def kubeconfig_with(lab: Lab, tmp_path: Path, key: str, value: str) -> str:
    """The lab's kubeconfig with one line changed."""
    lines = (lab.directory / "kubeconfig").read_text().splitlines()
    changed = [f"{line.partition(key)[0]}{key} {value}" if key in line else line for line in lines]
    path = tmp_path / "kubeconfig"
    path.write_text("\n".join(changed))
    return str(path)


def fails(lab: Lab, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a command on the laptop that has to fail without a traceback."""
    done = subprocess.run(lab.exec(*command), capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    assert done.stderr.startswith("ktnet: ")
    return done.returncode, done.stderr


OTHER_CA = base64.b64encode(
    b"""-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUIGZTMmQhDKHWC+ZpPu6NwxBvRFEwCgYIKoZIzj0EAwIw
-----END CERTIFICATE-----
"""
).decode()


@pytest.mark.parametrize(
    ("key", "value", "code", "says"),
    [
        ("token:", "wrong", 4, "does not accept these credentials"),
        ("server:", f"https://{API_SERVER}:6444", 4, "Connection refused"),
        ("certificate-authority-data:", OTHER_CA, 2, "can't use the certificates"),
        ("current-context:", "another", 2, "another"),
    ],
)
def test_a_wrong_kubeconfig(
    lab: Lab, tmp_path: Path, key: str, value: str, code: int, says: str
) -> None:
    path = kubeconfig_with(lab, tmp_path, key, value)
    exit_code, said = fails(lab, *CONNECT, "--kubeconfig", path)
    assert exit_code == code
    assert says in said


def test_an_unknown_namespace(lab: Lab) -> None:
    before = lab.census()
    exit_code, said = fails(lab, *KTNET, "connect", "-n", "nonesuch")
    assert exit_code == 11
    assert "nonesuch" in said
    assert left_behind(lab, before) == []


@pytest.mark.parametrize(
    ("around", "code", "says"),
    [
        ("setpriv --reuid 65534 --clear-groups", 3, "root's rights"),
        ("setpriv --bounding-set -net_admin --inh-caps -net_admin", 3, "NET_ADMIN"),
        ("unshare -m sh -c 'mount -t tmpfs none /dev/net && exec \"$@\"' -", 3, "/dev/net/tun"),
        (
            "unshare -m sh -c 'mount -o remount,bind,ro /etc/resolv.conf && exec \"$@\"' -",
            9,
            "Read-only file system",
        ),
    ],
    ids=["not root", "no NET_ADMIN", "no TUN", "read-only resolver"],
)
def test_a_right_that_is_missing(lab: Lab, around: str, code: int, says: str) -> None:
    before = lab.census()
    with public_directory() as directory:
        readable = directory / "kubeconfig"
        readable.write_bytes((lab.directory / "kubeconfig").read_bytes())
        command = ("sh", "-c", f'exec {around} "$@"', "-", *CONNECT)
        exit_code, said = fails(lab, *command, "--kubeconfig", str(readable))
    assert exit_code == code
    assert says in said
    assert left_behind(lab, before) == []


def test_a_second_session_is_told_of_the_first_which_goes_on(lab: Lab) -> None:
    with open_ready_client(lab) as first:
        exit_code, said = fails(lab, *CONNECT)
        assert exit_code == 10
        assert "ktnet disconnect" in said
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        assert first.end()[0] == 0


# --- it is ended in every way ---


def test_signal_upon_signal(lab: Lab) -> None:
    """Whoever is impatient gets the same end, and the exit code of the first one."""
    before = lab.census()
    with open_ready_client(lab) as client:
        for number in 10 * [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
            client.process.send_signal(number)
        assert client.wait() == (0, "")
    assert left_behind(lab, before) == []


def test_nobody_reads_what_it_says(lab: Lab) -> None:
    before = lab.census()
    with start_client(lab) as client:
        assert client.process.stdout is not None
        client.process.stdout.readline()
        client.process.stdout.close()
        wait_until(lambda: "connected" in ask_command(lab, "status"))
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait(10) == 0
        assert client.process.stderr is not None
        assert client.process.stderr.read() == ""
    assert left_behind(lab, before) == []


def test_nobody_reads_the_error_either(lab: Lab) -> None:
    command = lab.exec(*CONNECT, "--context", "nonesuch")
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == 2


# --- a part is lost that cannot come back ---


def test_the_helper_is_killed(lab: Lab) -> None:
    before = lab.census()
    with open_ready_client(lab) as client:
        helper = client.find_helper()
        assert helper is not None
        os.kill(helper, signal.SIGKILL)
        code, said = client.wait(10)
        assert code == 8
        assert "the helper that holds this machine's network has ended" in said
    assert left_behind(lab, before) == []


def test_a_stopped_client_goes_on_where_it_was(lab: Lab) -> None:
    """As a laptop does that slept for a moment."""
    with open_ready_client(lab) as client:
        client.process.send_signal(signal.SIGSTOP)
        assert "not answering" in ask_command(lab, "status")
        client.process.send_signal(signal.SIGCONT)
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        assert client.end()[0] == 0


# --- nobody else hears or sees it ---


def test_neighbours_cannot_ask_for_names(lab: Lab) -> None:
    with open_ready_client(lab) as client:
        assert lab.call(ask_for_tomcat, 2.0) is True
        assert lab.call(ask_as_neighbour, laptop=2) is False
        assert client.end()[0] == 0


def ask_as_neighbour() -> bool:
    subprocess.run(["ip", "route", "add", "198.19.0.1", "via", "192.168.64.10"], check=True)
    try:
        return ask_for_tomcat(1.0)
    finally:
        subprocess.run(["ip", "route", "del", "198.19.0.1"], check=True)


def ask_for_tomcat(timeout_s: float) -> bool:
    """Whether the session's DNS answers."""
    query = bytes.fromhex("123401000001000000000000") + b"\6tomcat\4demo\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout_s)
        asking.sendto(query, ("198.19.0.1", 53))
        try:
            return parse_id(asking.recv(512)) == 0x1234
        except (TimeoutError, ConnectionRefusedError):
            return False


def test_secrets_stay_in_memory(lab: Lab) -> None:
    """Neither the private key nor the token is in a log, a command line, a file or an object."""
    kubeconfig = (lab.directory / "kubeconfig").read_text()
    token = next(
        line.split()[1] for line in kubeconfig.splitlines() if line.strip().startswith("token:")
    )
    with start_client(lab, "-v") as client:
        client.wait_for("ready")
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        pod = read_session(lab)["pod"]
        helper = client.find_helper()
        assert helper is not None
        seen = [
            ask(lab, "GET", f"/api/v1/namespaces/demo/pods/{pod}/log"),
            *(json.dumps(ask(lab, "GET", path)) for path in SEEN_BY_OTHERS),
            lab.run("sh", "-c", "cat /run/ktnet/journal/*"),
            *(
                Path(f"/proc/{pid}/{what}").read_text()
                for pid in (client.pid, helper, find_shadow(lab, pod))
                for what in ("cmdline", "environ")
            ),
        ]
        code, said = client.end()
        assert code == 0
    for text in (*seen, said, *client.lines):
        assert token not in text
        assert "PRIVATE KEY" not in text


# --- last, since shadows of killed clients take a while to go ---


def test_killed_at_any_moment(lab: Lab) -> None:
    """The client, its helper or both, at random moments from the first to the last step."""
    before = lab.census()
    moments = random.Random(KILLS)
    for which in itertools.islice(itertools.cycle(["client", "helper", "both"]), KILLS):
        with start_client(lab) as client:
            client.wait_until_begun()
            time.sleep(moments.uniform(0.0, 1.1))
            if moments.random() < 0.3:
                client.process.send_signal(signal.SIGINT)
            kill(client, which)
            code, said = client.wait()
        assert "Traceback" not in said
        # CPython ends by SIGINT itself (130 to a shell) where one has come while it ran a text, as
        # it does for each dataclass that it loads, whoever has dealt with it since.
        expected = {0, 130, -signal.SIGINT, 8 if which == "helper" else -signal.SIGKILL}
        assert code in expected, said
        if which == "both":
            mend(lab)
        wait_until(lambda: left_behind(lab, before, *HOST_STATE) == [], 3.0)
    if SOAK:
        wait_until(lambda: left_behind(lab, before, *OBJECTS) == [], IDLE_S + TTL_S + 20)


def kill(client: Client, which: str) -> None:
    helper = client.find_helper()
    victims = {"client": [client.pid], "helper": [helper], "both": [client.pid, helper]}[which]
    for pid in victims:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    if victims == [None]:
        client.process.send_signal(signal.SIGINT)


def mend(lab: Lab) -> None:
    """The next session does, right at its beginning."""
    with open_ready_client(lab) as client:
        assert client.end()[0] == 0
