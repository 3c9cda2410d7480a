"""For the tests of names: a pod that asks the cluster's DNS, and the ways to make and cut things.

laptop ── proxy ── tunnel ── shadow ──► cluster DNS 10.96.0.10
  │         └──────────────────────────► office resolver 192.168.64.53
  └── tunnel ── pod `asker` ───────────► cluster DNS 10.96.0.10
"""

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api_client import request
from dnslib import QTYPE, DNSRecord

from ktnet.lab.control import ask as ask_lab
from ktnet.lab.harness import Lab
from ktnet.lab.state import LabDirectory

CLUSTER_DNS = "10.96.0.10"
API_SERVER = "192.168.64.1"
OFFICE_DNS = "192.168.64.53"
DEMO = "/api/v1/namespaces/demo"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices"

ASKER = f"""
import socket, struct

server = socket.create_server(("0.0.0.0", 8080))
while True:
    client, _ = server.accept()
    with client:
        stream = client.makefile("rb")
        transport = stream.read(1)
        query = stream.read(struct.unpack("!H", stream.read(2))[0])
        kind = socket.SOCK_DGRAM if transport == b"u" else socket.SOCK_STREAM
        with socket.socket(type=kind) as asking:
            asking.settimeout(5)
            asking.connect(("{CLUSTER_DNS}", 53))
            if transport == b"u":
                asking.send(query)
                answer = asking.recv(65535)
            else:
                asking.sendall(struct.pack("!H", len(query)) + query)
                back = asking.makefile("rb")
                answer = back.read(struct.unpack("!H", back.read(2))[0])
        client.sendall(answer)
        client.shutdown(socket.SHUT_WR)
"""


# --- inside the laptop ---


def find_nameserver() -> str:
    """The first nameserver that this machine has."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("nameserver"))


def ask_proxy(message: bytes, transport: str = "udp", timeout_s: float = 8.0) -> bytes:
    """The answer of this machine's nameserver."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(type=kind) as asking:
        asking.settimeout(timeout_s)
        asking.connect((find_nameserver(), 53))
        if transport == "udp":
            asking.send(message)
            return asking.recv(65535)
        asking.sendall(struct.pack("!H", len(message)) + message)
        stream = asking.makefile("rb")
        return stream.read(struct.unpack("!H", stream.read(2))[0])


def ask_all(messages: list[tuple[bytes, str]]) -> list[bytes]:
    return [ask_proxy(message, transport) for message, transport in messages]


def ask_timed(message: bytes) -> tuple[bytes, float]:
    start_s = time.monotonic()
    return ask_proxy(message), time.monotonic() - start_s


def ask_asker(address: str, messages: list[tuple[bytes, str]]) -> list[bytes]:
    """The answers of the cluster's DNS to a pod."""
    answers = []
    for message, transport in messages:
        with socket.create_connection((address, 8080), 8) as asking:
            asking.sendall(transport[0].encode() + struct.pack("!H", len(message)) + message)
            answers.append(asking.makefile("rb").read())
    return answers


# --- outside ---


def api(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    return lab.call(request, method, str(lab.directory / "kubeconfig"), path, body)


def make_service(lab: Lab, name: str, *, addresses: list[str] | None = None, **spec: Any) -> None:
    """A Service; with `addresses` headless, and with these endpoints."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    if addresses is not None:
        spec = {"clusterIP": "None", "ports": ports, **spec}
    elif spec.get("type") != "ExternalName":
        spec = {"ports": ports, **spec}
    api(lab, "POST", f"{DEMO}/services", {"metadata": {"name": name}, "spec": spec})
    if addresses is not None:
        labels = {"kubernetes.io/service-name": name}
        endpoints = [{"addresses": [each], "conditions": {"ready": True}} for each in addresses]
        body = {
            "metadata": {"name": f"{name}-own", "labels": labels},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": endpoints,
        }
        api(lab, "POST", SLICES, body)


def start_asker(lab: Lab) -> str:
    """Starts the pod `asker`; its address."""
    container = {"name": "main", "image": "lab/python:1", "command": ["python", "-c", ASKER]}
    pod = {"metadata": {"name": "asker"}, "spec": {"containers": [container]}}
    api(lab, "POST", f"{DEMO}/pods", pod)
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        status = api(lab, "GET", f"{DEMO}/pods/asker")["status"]
        if any(each["ready"] for each in status.get("containerStatuses", [])):
            return str(status["podIP"])
        time.sleep(0.05)
    raise TimeoutError("the pod `asker` doesn't start")


def list_names(lab: Lab, resolver: str) -> list[str]:
    """The names that the "office"'s or the "cluster"'s resolver was asked for."""
    asked = ask_lab(LabDirectory(lab.name).socket, {"do": f"{resolver}-queries"})
    return [each["name"] for each in asked]


def question(name: str, qtype: str = "A", id_: int = 0x1234) -> bytes:
    query = DNSRecord.question(name, qtype)
    query.header.id = id_
    return bytes(query.pack())


def describe(wire: bytes) -> dict[str, Any]:
    """What two answers to one question must have in common: all but id, order and TTLs."""
    answer = DNSRecord.parse(wire)

    def section(records: list[Any]) -> list[tuple[str, int, str]]:
        # The serial of the zone is the time.
        return sorted(
            (
                str(each.rname).lower(),
                each.rtype,
                str(each.rdata) if each.rtype != QTYPE.SOA else str(each.rdata.mname),
            )
            for each in records
            if each.rtype != QTYPE.OPT
        )

    header = answer.header
    return {
        "question": (str(answer.q.qname), answer.q.qtype),
        "flags": (header.qr, header.aa, header.tc, header.rd, header.ra, header.rcode),
        "sections": [section(each) for each in (answer.rr, answer.auth, answer.ar)],
        "edns": [(each.edns_len, each.edns_do) for each in answer.ar if each.rtype == QTYPE.OPT],
    }


def addresses_of(wire: bytes) -> list[str]:
    return sorted(str(each.rdata) for each in DNSRecord.parse(wire).rr)


@contextmanager
def cut(pid: int, *rules: str) -> Iterator[None]:
    """Drops what leaves a network namespace (of process `pid`) by these rules of nftables."""
    in_namespace(pid, "add table inet cut")
    try:
        in_namespace(
            pid,
            "add chain inet cut out { type filter hook output priority 0; }",
            "add chain inet cut in { type filter hook input priority 0; }",
            *rules,
        )
        yield
    finally:
        in_namespace(pid, "delete table inet cut")


def in_namespace(pid: int, *commands: str) -> None:
    subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "nft", "-f", "-"],
        input="\n".join(commands) + "\n",
        text=True,
        check=True,
    )


def pid_of_laptop(lab: Lab) -> int:
    return int((lab.directory / "laptop-1.pid").read_text().split()[0])


def pid_of_node(lab: Lab) -> int:
    state = LabDirectory(lab.name).read_running()
    assert state is not None
    return state.daemon.pid
