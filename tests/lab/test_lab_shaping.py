"""A laptop's link made worse by `ktnet lab fault packets`, as TCP and the node see it."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest
from connect_client import wait_until
from name_scene import pid_of_node

from ktnet.lab import traffic
from ktnet.lab.faults.client import happen
from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

SERVER = "192.168.64.11"
ECHO, SINK, SOURCE, DISCARD = 7001, 7002, 7003, 7006
MIB = 1 << 20
ETH_P_ALL = 3


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"shaping-{os.getpid()}", "--laptops", "2") as lab:
        command = [sys.executable, "-m", "ktnet.lab.workloads.streams"]
        with subprocess.Popen(
            lab.exec(*command, laptop=2), stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert "listening" in server.stdout.readline()
                yield lab
            finally:
                server.kill()


@pytest.fixture(autouse=True)
def whole_again(lab: Lab) -> Iterator[None]:
    yield
    lab.fault("clear")


def measure_round_trips(count: int) -> list[float]:
    """Seconds, of single bytes to the other laptop and back."""
    times_s = []
    with socket.create_connection((SERVER, ECHO), 10.0) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            start_s = time.monotonic()
            sock.sendall(b"x")
            sock.recv(1)
            times_s.append(time.monotonic() - start_s)
    return times_s


def find_largest_frame(seconds: float) -> int:
    """Of what arrives on this laptop's link meanwhile (bytes)."""
    largest, deadline_s = 0, time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sniffer:
        sniffer.bind(("eth0", ETH_P_ALL))
        sniffer.settimeout(0.2)
        while time.monotonic() < deadline_s:
            try:
                frame, (*_, kind, _, _) = sniffer.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if kind != socket.PACKET_OUTGOING:
                largest = max(largest, len(frame))
    return largest


def list_links(lab: Lab) -> dict[str, str]:
    """Of the node, without those of pods: the bridge by the port."""
    command = ["nsenter", f"--net=/proc/{pid_of_node(lab)}/ns/net", "ip", "-j", "link"]
    links = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {
        link["ifname"]: link.get("master", "")
        for link in links
        if not link["ifname"].startswith("pod-")
    }


def process_is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_delay_is_added_to_each_round_trip(lab: Lab) -> None:
    command = [*KTNET, "lab", "fault", "packets", "--name", lab.name, "--delay-ms", "40"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    times_s = lab.call(measure_round_trips, 25)
    assert 0.04 <= min(times_s) < 0.045
    assert statistics.median(times_s) < 0.055
    lab.fault("packets")
    assert min(lab.call(measure_round_trips, 25)) < 0.02


def test_bytes_pass_at_the_rate_and_no_faster(lab: Lab) -> None:
    lab.fault("packets", rate_mbit=80)
    # 1448 of the 1514 bytes of a frame are payload.
    possible_mb_s = 80 / 8 * 1448 / 1514
    up = lab.call(traffic.upload, SERVER, DISCARD, 16 * MIB)
    down = lab.call(partial(traffic.download, verify=False), SERVER, SOURCE, 16 * MIB)
    for transfer in (up, down):
        assert 0.85 * possible_mb_s < transfer.rate_mb_s < 1.01 * possible_mb_s


def test_what_waits_is_bounded_by_the_queue(lab: Lab) -> None:
    """At 8 Mbit/s, 128 KiB take 0.13 s, and as much as that one byte waits behind bulk at most."""
    lab.fault("packets", rate_mbit=8, queue_kib=128)
    bulk = subprocess.Popen(
        lab.exec(sys.executable, "-c", UPLOAD), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: lab.fault("packets", rate_mbit=8, queue_kib=128)["up"]["refused"] > 0)
        assert 0.05 < max(lab.call(measure_round_trips, 15)[1:]) < 0.6
    finally:
        bulk.kill()
        bulk.wait()


UPLOAD = f"""
from ktnet.lab import traffic
traffic.upload({SERVER!r}, {DISCARD}, 1 << 40)
"""


def test_what_is_lost_comes_again_and_whole(lab: Lab) -> None:
    """Parts of super-packets arrive as what they say they are, checksums included."""
    size = 8 * MIB
    lab.fault("packets", share=0.02, delay_ms=1, seed=5)
    up = lab.call(traffic.upload, SERVER, SINK, size)
    down = lab.call(traffic.download, SERVER, SOURCE, size)
    assert up.sha256 == down.sha256 == traffic.stream_sha256(size)
    counted = lab.fault("packets", share=0.02, delay_ms=1, seed=5)
    for way in ("up", "down"):
        lost, passed = counted[way]["lost"], counted[way]["passed"]
        # Five standard deviations of some 6,000 packets and more.
        assert 0.01 < lost / (lost + passed) < 0.03
        assert counted[way]["refused"] == 0


def test_super_packets_stay_together(lab: Lab) -> None:
    lab.fault("packets", delay_ms=0.1)
    with subprocess.Popen(
        lab.exec(sys.executable, "-c", UPLOAD), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as bulk:
        try:
            assert lab.call(find_largest_frame, 1.0, laptop=2) > 60_000
        finally:
            bulk.kill()


def test_a_killed_process_leaves_the_link_as_it_was(lab: Lab) -> None:
    pid = lab.fault("packets", delay_ms=100)["pid"]
    assert {"cut-10": "", "near-10": "cut-10", "far-10": "lan", "lan-10": "cut-10"}.items() <= (
        list_links(lab).items()
    )
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: list_links(lab).get("lan-10") == "lan")
    wait_until(lambda: not {"cut-10", "near-10", "far-10"} & set(list_links(lab)))
    assert min(lab.call(measure_round_trips, 25)) < 0.05
    # And it can have one again.
    lab.fault("packets", delay_ms=100)
    assert min(lab.call(measure_round_trips, 2)) >= 0.1


def test_a_killed_lab_takes_its_processes_along() -> None:
    name = f"shaped-{os.getpid()}"
    with open_lab(name) as lab:
        pid = happen(name, "packets", delay_ms=100)["pid"]
        os.kill(pid_of_node(lab), signal.SIGKILL)
        wait_until(lambda: process_is_gone(pid))


def test_each_laptop_has_its_own_link(lab: Lab) -> None:
    pids = [lab.fault("packets", delay_ms=30, laptop=n)["pid"] for n in (1, 2)]
    assert len(set(pids)) == 2
    assert 0.06 <= min(lab.call(measure_round_trips, 5)) < 0.08
    lab.fault("packets", laptop=2)
    assert 0.03 <= min(lab.call(measure_round_trips, 5)) < 0.05
    wait_until(lambda: process_is_gone(pids[1]))
    lab.fault("clear")
    wait_until(lambda: process_is_gone(pids[0]))
    assert {"lan-10", "lan-11"} == {n for n, bridge in list_links(lab).items() if bridge == "lan"}


def test_a_pulled_cable_stays_pulled(lab: Lab) -> None:
    def has_carrier() -> bool:
        return "LOWER_UP" in lab.run("ip", "link", "show", "eth0")

    lab.fault("cable", deed="pull")
    wait_until(lambda: not has_carrier())
    lab.fault("packets", delay_ms=30)
    assert not has_carrier()
    lab.fault("cable", deed="plug")
    wait_until(has_carrier)
    assert min(lab.call(measure_round_trips, 5)) >= 0.03
