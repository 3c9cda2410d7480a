"""What happens to a laptop by `ktnet lab fault`, as its processes see it, and its end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest
from api_client import Refused, ask, request
from connect_client import wait_until

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

RESOLVER = ("192.168.64.53", 53)
QUERIES = 200
MAPS = "/api/v1/namespaces/demo/configmaps"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"laptops-{os.getpid()}", "--laptops", "2") as lab:
        yield lab


def fault(lab: Lab, *arguments: str) -> str:
    command = [*KTNET, "lab", "fault", arguments[0], "--name", lab.name, *arguments[1:]]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def count_answers(queries: int) -> int:
    """How many of so many DNS queries are answered, each asked once."""
    name = b"\x08intranet\x06office\x07example\0"
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2.0)
        for number in range(queries):
            header = number.to_bytes(2) + b"\x01\0\0\x01\0\0\0\0\0\0"
            asking.sendto(header + name + b"\0\x01\0\x01", RESOLVER)
            if number % 20 == 19 or number == queries - 1:
                # No more at once than its receive buffer has room for.
                asking.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    for _ in range(20):
                        asking.recv(512)
                        answered += 1
    return answered


def fail_with_a_socket() -> None:
    raise OSError(5, "of no use to others", socket.socket())


def test_an_error_that_cannot_leave_its_process_is_told(lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="of no use to others"):
        lab.call(fail_with_a_socket)


def read_status(kubeconfig: str) -> int:
    """Of a request with the kubeconfig's token."""
    try:
        request("GET", kubeconfig, MAPS)
    except Refused as error:
        return error.errno
    return 200


def test_packets_are_lost(lab: Lab) -> None:
    fault(lab, "packets", "--share", "0.3")
    # Both ways come through: 0.7 times 0.7. Chance has this wrong once in a million years.
    assert 0.2 * QUERIES < lab.call(count_answers, QUERIES) < 0.8 * QUERIES
    lab.fault("packets", share=1)
    assert lab.call(count_answers, 20) == 0
    assert lab.call(count_answers, 20, laptop=2) > 0
    lab.fault("packets", share=0)
    assert lab.call(count_answers, 20) > 0


def test_a_pulled_cable_is_seen_as_one(lab: Lab) -> None:
    def has_carrier() -> bool:
        return "LOWER_UP" in lab.run("ip", "link", "show", "eth0")

    assert has_carrier()
    fault(lab, "cable", "pull")
    wait_until(lambda: not has_carrier())
    assert "NO-CARRIER" in lab.run("ip", "link", "show", "eth0")
    lab.fault("cable", deed="plug")
    wait_until(has_carrier)
    wait_until(lambda: lab.call(count_answers, 20) > 0)


def test_a_full_disk_is_full_until_it_is_freed(lab: Lab) -> None:
    write = ("sh", "-c", "head -c 100k /dev/zero > /run/kept 2>&1; wc -c < /run/kept")
    fault(lab, "disk", "fill")
    assert int(lab.run(*write)) < 100 << 10
    lab.fault("disk", deed="free")
    assert int(lab.run(*write)) == 100 << 10


def test_an_expired_token_is_nobodys(lab: Lab) -> None:
    assert fault(lab, "expire-token") == "1 token(s)\n"
    assert lab.call(read_status, str(lab.directory / "kubeconfig")) == 401
    connect = subprocess.run(
        lab.exec(*KTNET, "connect", "-n", "demo"), capture_output=True, text=True, check=False
    )
    assert (connect.returncode, "Traceback" in connect.stderr) == (4, False), connect.stderr
    fault(lab, "renew-token")
    assert ask(lab, "GET", MAPS)["kind"] == "ConfigMapList"


def test_clear_ends_all_that_lasts(lab: Lab) -> None:
    lab.fault("packets", share=1)
    lab.fault("disk", deed="fill")
    lab.fault("expire-token")
    lab.fault("cable", deed="pull")
    fault(lab, "clear")
    wait_until(lambda: lab.call(count_answers, 20) > 0)
    assert ask(lab, "GET", MAPS)["kind"] == "ConfigMapList"
    lab.run("sh", "-c", "head -c 100k /dev/zero > /run/kept")


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("packets", {"share": 2}),
        ("packets", {"share": 0.1, "laptop": 9}),
        ("cable", {"deed": "cut"}),
        ("disk", {"deed": "burn"}),
    ],
)
def test_what_makes_no_sense_is_refused(lab: Lab, what: str, arguments: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"daemon says: (share|there is no laptop|no such deed)"):
        lab.fault(what, **arguments)
