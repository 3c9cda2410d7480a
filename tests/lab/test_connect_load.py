"""Much of everything, and garbage: nothing leaks, nothing grows without a bound, nothing breaks."""

import itertools
import os
import random
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from connect_client import (
    Client,
    count_descriptors,
    open_ready_client,
    read_resident_bytes,
    read_session,
    wait_until,
)

from ktnet.lab import traffic
from ktnet.lab.harness import Lab, open_lab
from ktnet.wire.checksum import internet_checksum
from ktnet.wire.ipv4 import PROTOCOL_TCP

pytestmark = pytest.mark.lab

SOAK = "KTNET_SOAK" in os.environ
ROUNDS = 100 if SOAK else 3
CONNECTIONS = 1000
"""Of a round: 100,000 in a soak."""
ECHO, SOURCE = 7001, 7003
SLOW_READERS = 200
GIVE_UP_S = 1.5
WARMING_UP_BYTES = 20e6
"""What malloc keeps of the first rounds: 17 MB more than after the first were seen after the
fortieth, and none of it came in the last twenty."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"load-{os.getpid()}") as lab:
        yield lab


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    with open_ready_client(lab) as client:
        yield client
        assert client.end() == (0, "")


def no_flow_is_open(lab: Lab) -> bool:
    return int(read_session(lab)["flows"]["flows_open"]) == 0


@pytest.mark.timeout(3600 if SOAK else 120)
def test_thousands_of_connections_leave_nothing(lab: Lab, client: Client) -> None:
    """Memory grows with what is open at once, not with what there was."""
    resident, descriptors = [], []
    ports = count_listeners(lab)
    for _ in range(ROUNDS):
        assert lab.call(traffic.echo_many, "streams.demo", ECHO, CONNECTIONS) == CONNECTIONS
        wait_until(lambda: no_flow_is_open(lab))
        resident.append(read_resident_bytes(client.pid))
        descriptors.append(count_descriptors(client.pid))
    # Not since "ready": the watch over the link opens its netlink socket just after that.
    assert descriptors[-1] <= descriptors[0]
    assert resident[-1] - resident[0] < WARMING_UP_BYTES
    assert count_listeners(lab) == ports
    print(f"resident {[round(size / 1e6) for size in resident[:: ROUNDS // 3]]} MB")


def count_listeners(lab: Lab) -> int:
    """Sockets that are bound on the laptop, of all kinds that can be."""
    return len(lab.run("ss", "-Hlntu").splitlines())


def test_readers_that_do_not_read_are_waited_for_in_bounds(lab: Lab, client: Client) -> None:
    """48 MiB in windows and 64 on the way to the applications, and that only at the worst."""
    before = read_resident_bytes(client.pid)
    assert lab.call(open_without_reading, SLOW_READERS) == SLOW_READERS
    assert read_resident_bytes(client.pid) - before < 160e6
    wait_until(lambda: no_flow_is_open(lab))


def open_without_reading(count: int) -> int:
    streams = [socket.create_connection(("streams.demo", SOURCE), 10.0) for _ in range(count)]
    for stream in streams:
        stream.sendall(b"1073741824\n")
    time.sleep(1.0)  # so much can come in, were there no bound
    for stream in streams:
        stream.close()
    return len(streams)


def test_a_storm_at_addresses_that_do_not_answer_blows_over(lab: Lab, client: Client) -> None:
    lab.call(connect_in_vain, 1500)
    assert lab.call(traffic.echo_many, "streams.demo", ECHO, 20) == 20
    flows = read_session(lab)["flows"]
    assert flows["flows_open"] == 0
    assert flows["flows_total"] >= 1500


def connect_in_vain(count: int) -> None:
    """Connects to addresses of no pod, and gives up like an impatient application."""
    addresses = itertools.cycle(f"10.244.0.{number}" for number in range(100, 250))
    streams = [socket.socket() for _ in range(count)]
    for stream, address in zip(streams, addresses, strict=False):
        stream.setblocking(False)
        stream.connect_ex((address, 80))
    time.sleep(GIVE_UP_S)
    for stream in streams:
        stream.close()


def test_garbage_for_the_resolver(lab: Lab, client: Client) -> None:
    lab.call(send_garbage_to_resolver)
    assert lab.visit("http://tomcat.demo/")["status"] == 200
    assert read_session(lab)["dns"]["malformed"] > 0


def send_garbage_to_resolver() -> None:
    dice = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for size in (0, 1, 11, 12, 13, 40, 512, 9000):
            for _ in range(100):
                asking.sendto(dice.randbytes(size), ("198.19.0.1", 53))
    for size in (0, 1, 2, 3, 100, 5000):
        with socket.create_connection(("198.19.0.1", 53), 5.0) as stream:
            stream.sendall(dice.randbytes(size))


def test_garbage_in_the_device(lab: Lab, client: Client) -> None:
    """Any packet can be put there with CAP_NET_RAW; each is answered, or dropped."""
    target = lab.call(socket.gethostbyname, "streams.demo")
    lab.call(send_garbage_to_device, target)
    assert lab.call(traffic.echo_many, "streams.demo", ECHO, 20) == 20
    flows = read_session(lab)["flows"]
    assert flows["flows_total"] > 100
    assert flows["packets_dropped"] > 100


def send_garbage_to_device(target: str) -> None:
    dice = random.Random(1)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as device:
        device.bind(("ktnet0", 0x0800))
        for _ in range(1000):
            device.send(dice.randbytes(dice.randrange(1, 1400)))
            device.send(build_segment(dice, target))


def build_segment(dice: random.Random, target: str) -> bytes:
    """A SYN mostly, of nobody, or what might follow one: right checksums, wild numbers."""
    ports = struct.pack("!HH", dice.randrange(1024, 2048), ECHO)
    numbers = dice.randbytes(8)
    flags = dice.choice([0x02, 0x02, 0x10, 0x18, 0x11, 0x04, 0xFF, 0x00])
    offset = dice.choice([5, 5, 5, 6, 15, 0])
    rest = struct.pack("!BBHHH", offset << 4, flags, dice.choice([0, 1, 65535]), 0, 0)
    body = ports + numbers + rest + dice.randbytes(dice.choice([0, 0, 4, 100]))
    addresses = socket.inet_aton("198.51.100.7") + socket.inet_aton(target)
    pseudo = addresses + struct.pack("!BBH", 0, PROTOCOL_TCP, len(body))
    body = body[:16] + struct.pack("!H", internet_checksum(pseudo + body)) + body[18:]
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(body), 0, 0x4000, 64, PROTOCOL_TCP)
    return (
        head + struct.pack("!H", internet_checksum(head + b"\0\0" + addresses)) + addresses + body
    )
