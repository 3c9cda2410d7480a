"""Faults between laptop and cluster: noticed, mended, and held against docs/breaks.md."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_client import ask
from break_scene import filter_packets, find, find_jobs, open_held_flow, read_table
from connect_client import (
    HOST_STATE,
    OBJECTS,
    Client,
    differences,
    find_shadow,
    open_client,
    open_ready_client,
    read_session,
    wait_until,
)

from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

SERVFAIL = 2


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"breaks-{os.getpid()}", "--laptops", "2") as lab:
        yield lab


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[Client]:
    """One session, for all faults that it survives: it comes through all of them."""
    before = lab.census()
    with open_ready_client(lab) as client:
        yield client
        code, said = client.end()
        assert (code, said) == (0, "")
        assert "the cluster are as they were" in client.lines[-1]
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


@pytest.fixture(scope="module")
def address(lab: Lab) -> str:
    """Of a Service: for connections, while names of the cluster are not to be had."""
    return str(lab.census()["tomcat"]["clusterIP"])


# --- the faults: each returns what ends it, where it lasts ---


def delete_pod(lab: Lab, client: Client) -> None:
    ask(lab, "DELETE", f"/api/v1/namespaces/demo/pods/{read_session(lab)['pod']}")


def delete_job(lab: Lab, client: Client) -> None:
    for job in find_jobs(lab):
        background = {"propagationPolicy": "Background"}
        ask(lab, "DELETE", f"/apis/batch/v1/namespaces/demo/jobs/{job}", background)


def kill_container(lab: Lab, client: Client) -> None:
    os.kill(find_shadow(lab, read_session(lab)["pod"]), signal.SIGKILL)


def reset_connection(lab: Lab, client: Client) -> Callable[[], object]:
    return filter_packets(lab, "reject with tcp reset")


def silence_network(lab: Lab, client: Client) -> Callable[[], object]:
    return filter_packets(lab, "drop")


def remove_while_asleep(lab: Lab, client: Client) -> None:
    """As a shadow goes by itself when a laptop sleeps: only the Job's end is not waited for."""
    client.process.send_signal(signal.SIGSTOP)
    delete_job(lab, client)
    wait_until(lambda: find_jobs(lab) == [])
    client.process.send_signal(signal.SIGCONT)


def cut_forward(lab: Lab, client: Client) -> None:
    assert lab.fault("forwards", deed="cut", laptop=1) == {"forwards": 1}


def reset_forward(lab: Lab, client: Client) -> None:
    assert lab.fault("forwards", deed="reset", laptop=1) == {"forwards": 1}


def stall_forward(lab: Lab, client: Client) -> None:
    assert lab.fault("forwards", deed="stall", laptop=1) == {"forwards": 1}


def time_out_forward(lab: Lab, client: Client) -> None:
    """By a load balancer with little patience: less than the tunnel's own questions come apart."""
    lab.fault("idle-timeout", seconds=1)
    wait_until(lambda: lab.fault("show")["forwards"] == [])
    lab.fault("idle-timeout", seconds=0)


def restart_api_server(lab: Lab, client: Client) -> None:
    lab.fault("restart-api", seconds=2)


FAULTS: dict[str, Callable[[Lab, Client], Callable[[], object] | None]] = {
    "pod deleted": delete_pod,
    "Job deleted": delete_job,
    "container killed": kill_container,
    "connection reset": reset_connection,
    "network silent": silence_network,
    "session removed while asleep": remove_while_asleep,
    "port-forward cut": cut_forward,
    "port-forward reset": reset_forward,
    "port-forward stalled": stall_forward,
    "port-forward idle for too long": time_out_forward,
    "API server restarted": restart_api_server,
}


# --- what they do ---


@pytest.mark.parametrize("fault", FAULTS)
def test_it_comes_back(lab: Lab, client: Client, address: str, fault: str) -> None:
    limits = read_table()[fault]
    reconnects = read_session(lab)["tunnel"]["reconnects"]
    with open_held_flow(lab) as flow:
        assert flow.stdout is not None
        assert flow.stdout.readline() == "open\n"
        end_fault = FAULTS[fault](lab, client)
        # Not from before: what makes it are processes, which a busy machine keeps waiting.
        start_s = time.monotonic()
        client.wait_for("reconnecting")
        noticed_s = time.monotonic() - start_s
        if end_fault is not None:
            assert read_session(lab)["state"] == "reconnecting"
            end_fault()
        start_s = time.monotonic()
        # Whoever comes meanwhile is waited for.
        assert lab.visit(f"http://{address}/")["status"] == 200
        client.wait_for("is back")
        back_s = time.monotonic() - start_s
        assert flow.communicate(timeout=10)[0] == "ConnectionResetError\n"
    print(f"{fault}: noticed {noticed_s:.1f} s, back {back_s:.1f} s")
    assert noticed_s <= limits.noticed_s
    assert back_s <= limits.back_s
    assert limits.lost.startswith("open ones")
    assert limits.leftovers == "none"
    tunnel = read_session(lab)["tunnel"]
    assert tunnel["state"] == "connected"
    assert tunnel["reconnects"] == reconnects + 1
    wait_until(lambda: [obj["kind"] for obj in find(lab)] == ["Job", "Lease", "Pod"])
    job, lease, _ = find(lab)
    (owner,) = lease["metadata"]["ownerReferences"]
    assert owner["uid"] == job["metadata"]["uid"]


def test_what_waits_too_long_is_told(lab: Lab, client: Client, address: str) -> None:
    end_fault = filter_packets(lab, "reject with tcp reset")
    client.wait_for("reconnecting")
    try:
        seen = lab.call(meet_outage, address)
    finally:
        end_fault()
    client.wait_for("is back")
    assert 8.0 < seen["unreachable_s"] < 14.0
    assert seen["rcode"] == SERVFAIL
    assert seen["answered_s"] < 4.0
    assert seen["outside"] == "192.168.64.80"
    assert seen["outside_s"] < 2.0


def meet_outage(address: str) -> dict[str, Any]:
    """What a connection, a name of the cluster and another name come to, and after how long."""
    seen: dict[str, Any] = {}
    start_s = time.monotonic()
    seen["outside"] = socket.gethostbyname("intranet.office.example")
    seen["outside_s"] = time.monotonic() - start_s
    query = (
        bytes.fromhex("123401000001000000000000") + b"\6nobody\4demo\3svc\7cluster\5local\0\0\1\0\1"
    )
    start_s = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(10.0)
        asking.sendto(query, ("198.19.0.1", 53))
        seen["rcode"] = asking.recv(512)[3] & 15
    seen["answered_s"] = time.monotonic() - start_s
    start_s = time.monotonic()
    with pytest.raises(OSError) as raised:
        socket.create_connection((address, 80), 60.0)
    assert raised.value.errno == errno.EHOSTUNREACH
    seen["unreachable_s"] = time.monotonic() - start_s
    return seen


def test_the_device_is_set_down(lab: Lab) -> None:
    """It can't come back without changing what somebody else has done."""
    before = lab.census(laptop=2)
    with open_client(lab, laptop=2) as client:
        client.wait_for("ready")
        lab.run("ip", "link", "set", "ktnet0", "down", laptop=2)
        code, said = client.wait(10)
        assert code == 8
        assert "ktnet0 was set down" in said
    assert differences(before, lab.census(laptop=2), *HOST_STATE, *OBJECTS) == []
