"""What a connected laptop can do: each promise of `ktnet connect`, through the whole path."""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_command import ask_command

from ktnet.lab import traffic
from ktnet.lab.harness import Connection, Lab, open_connection, open_lab

pytestmark = pytest.mark.lab

BULK_BYTES = 2**30
CONNECTIONS = 1000
ECHO, SINK, SOURCE, RESET, GREET = range(7001, 7006)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"promises-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module", params=["port-forward", "direct"])
def connection(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Connection]:
    with open_connection(lab, "--via", request.param) as connection:
        yield connection


@pytest.fixture(scope="module")
def where(lab: Lab) -> dict[str, str]:
    """Addresses and name of tomcat's Service and pod."""
    return lab.census()["tomcat"]


def test_service_address_answers(lab: Lab, connection: Connection, where: dict) -> None:
    answer = lab.visit(f"http://{where['clusterIP']}/")
    assert answer["status"] == 200
    assert where["podName"] in answer["body"]


@pytest.mark.parametrize(
    "name",
    ["tomcat", "tomcat.demo", "tomcat.demo.svc", "tomcat.demo.svc.cluster.local", "ToMcAt.DeMo."],
)
def test_cluster_names_answer(lab: Lab, connection: Connection, where: dict, name: str) -> None:
    assert where["podName"] in lab.visit(f"http://{name}/")["body"]


def test_pod_address_answers(lab: Lab, connection: Connection, where: dict) -> None:
    assert where["podName"] in lab.visit(f"http://{where['podIP']}:8080/")["body"]


def test_headless_pod_name_answers(lab: Lab, connection: Connection) -> None:
    assert "db-1" in lab.visit("http://db-1.db.demo.svc.cluster.local:8080/")["body"]


def test_closed_port_is_refused_quickly(lab: Lab, connection: Connection, where: dict) -> None:
    tries = [lab.call(traffic.try_connect, where["podIP"], 81, 5.0) for _ in range(5)]
    assert {outcome for outcome, _ in tries} == {"ECONNREFUSED"}
    assert sorted(seconds for _, seconds in tries)[2] < 0.050


def test_undefined_service_port_is_refused(lab: Lab, connection: Connection, where: dict) -> None:
    outcome, _ = lab.call(traffic.try_connect, where["clusterIP"], 81, 5.0)
    assert outcome == "ECONNREFUSED"


def test_unused_address_is_not_accepted(lab: Lab, connection: Connection) -> None:
    outcome, _ = lab.call(traffic.try_connect, "10.244.0.250", 80, 6.0)
    assert outcome in {"EHOSTUNREACH", "timeout"}


def test_udp_is_prohibited_at_once(lab: Lab, connection: Connection, where: dict) -> None:
    error, seconds = lab.call(send_datagram, where["podIP"])
    assert error in {errno.EHOSTUNREACH, errno.EACCES}
    assert seconds < 1.0


def send_datagram(address: str) -> tuple[int | None, float]:
    """Sends UDP to `address` and waits for what comes back: (errno, seconds)."""
    start_s = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(5.0)
        datagrams.connect((address, 9999))
        datagrams.send(b"?")
        try:
            datagrams.recv(16)
        except OSError as error:
            return error.errno, time.monotonic() - start_s
    return None, time.monotonic() - start_s


def test_bulk_upload_arrives_whole(lab: Lab, connection: Connection) -> None:
    done = lab.call(traffic.upload, "streams.demo", SINK, BULK_BYTES)
    assert (done.size, done.sha256) == (BULK_BYTES, traffic.stream_sha256(BULK_BYTES))


def test_bulk_download_arrives_whole(lab: Lab, connection: Connection) -> None:
    done = lab.call(traffic.download, "streams.demo", SOURCE, BULK_BYTES)
    assert (done.size, done.sha256) == (BULK_BYTES, traffic.stream_sha256(BULK_BYTES))


def test_a_thousand_connections_at_once(lab: Lab, connection: Connection) -> None:
    assert lab.call(traffic.echo_many, "streams.demo", ECHO, CONNECTIONS) == CONNECTIONS


def test_laptop_half_closes(lab: Lab, connection: Connection) -> None:
    assert lab.call(half_close_towards_cluster) == b"last words"


def half_close_towards_cluster() -> bytes:
    """What still comes back after the laptop's side ended."""
    with socket.create_connection(("streams.demo", ECHO), 10.0) as stream:
        stream.sendall(b"last words")
        stream.shutdown(socket.SHUT_WR)
        return traffic.read_all(stream)


def test_cluster_half_closes(lab: Lab, connection: Connection) -> None:
    """The far side ends first and reads on: everything that is sent after its EOF is taken."""
    greeting, ended_s = lab.call(write_after_eof)
    assert greeting.endswith(b"\n")
    assert ended_s < 5.0


def write_after_eof() -> tuple[bytes, float]:
    with socket.create_connection(("streams.demo", GREET), 10.0) as stream:
        greeting = traffic.read_all(stream)
        start_s = time.monotonic()
        stream.sendall(bytes(2**22))
        return greeting, time.monotonic() - start_s


def test_cluster_resets(lab: Lab, connection: Connection) -> None:
    assert lab.call(provoke_reset) == errno.ECONNRESET


def provoke_reset() -> int | None:
    with socket.create_connection(("streams.demo", RESET), 10.0) as stream:
        stream.sendall(b"!")
        try:
            stream.recv(1)
        except OSError as error:
            return error.errno
    return None


def test_outside_names_go_to_the_old_resolver(lab: Lab, connection: Connection) -> None:
    assert lab.call(socket.gethostbyname, "intranet.office.example") == "192.168.64.80"


def test_unknown_cluster_name_is_unknown(lab: Lab, connection: Connection) -> None:
    with pytest.raises(socket.gaierror) as raised:
        lab.call(socket.gethostbyname, "nothing.demo.svc.cluster.local")
    assert raised.value.errno == socket.EAI_NONAME


def test_status_shows_the_session(lab: Lab, connection: Connection) -> None:
    (session,) = json.loads(ask_command(lab, "status", "-o", "json"))["sessions"]
    assert session["pid"] == connection.pid
    assert session["command"] == "connect"
    assert session["namespace"] == "demo"
    assert session["state"] == "connected"
    assert session["since"].endswith("Z")


def test_client_stays_small(connection: Connection) -> None:
    """After all of the above: at most 130 MB resident, at any time."""
    status = Path(f"/proc/{connection.pid}/status").read_text()
    peak_kb = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak_kb * 1024 < 130e6
