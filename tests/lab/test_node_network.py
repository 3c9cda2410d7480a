"""Who reaches whom on a lab's node, and how."""

import ast
import errno
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from node_scene import NAMESPACE, NodeScene, listening, on_node

from ktnet.lab.entering import enter

pytestmark = pytest.mark.lab

SERVER = {"image": "lab/http-echo:1", "readinessProbe": listening(8080)}
SLEEP = {"command": ["sleep", "600"]}

CONNECT = """
import socket, sys
with socket.socket() as s:
    s.settimeout(float(sys.argv[3]))
    try:
        s.connect((sys.argv[1], int(sys.argv[2])))
        print((s.getsockname()[0], s.getsockopt(6, 13, 16).strip(b"\\0")))
    except OSError as error:
        print(error.errno)
"""


def run(*command: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_laptop(node: NodeScene, *command: str) -> str:
    """What a command prints on the laptop."""
    return run(*command, preexec_fn=lambda: enter(node.laptop.pid))


async def connect_from_pod(node: NodeScene, pod: str, address: str, port: int):
    output = await node.execute(pod, "python", "-c", CONNECT, address, str(port), "10")
    return ast.literal_eval(output)


def connect_from_laptop(node: NodeScene, address: str, port: int, timeout_s: float):
    python = "/usr/bin/python3"
    return ast.literal_eval(
        on_laptop(node, python, "-c", CONNECT, address, str(port), str(timeout_s))
    )


@on_node
async def test_pods_reach_each_other_by_way_of_the_node(node: NodeScene) -> None:
    server = (await node.start("server", SERVER))["status"]["podIP"]
    client = (await node.start("client", SLEEP))["status"]["podIP"]
    assert await connect_from_pod(node, "client", server, 8080) == (client, b"cubic")
    assert await connect_from_pod(node, "client", server, 8081) == errno.ECONNREFUSED
    # Nobody answers the node's ARP requests: it says so after a few seconds.
    assert await connect_from_pod(node, "client", "10.244.0.200", 80) == errno.EHOSTUNREACH
    routes = await node.execute("client", "sh", "-c", "cat /proc/net/route | tail -n +2 | wc -l")
    assert routes == "2\n"


@on_node
async def test_laptop_has_a_lan_and_nothing_else(node: NodeScene) -> None:
    server = (await node.start("server", SERVER))["status"]["podIP"]
    assert on_laptop(node, "ip", "-4", "route").split()[:3] == ["192.168.64.0/24", "dev", "eth0"]
    assert on_laptop(node, "ip", "-4", "route").count("\n") == 1
    assert connect_from_laptop(node, server, 8080, 1) == errno.ENETUNREACH
    with socket.create_server(("192.168.64.1", 6443)):
        found = connect_from_laptop(node, "192.168.64.1", 6443, 1)
        assert found == ("192.168.64.10", b"cubic")
    # Not even with a route that it gives itself.
    for network in ("10.244.0.0/16", "10.96.0.0/16"):
        on_laptop(node, "ip", "route", "add", network, "via", "192.168.64.1")
    for address in (server, "10.96.0.10", "10.244.0.1"):
        found = ast.literal_eval(on_laptop(node, "/usr/bin/python3", "-c", SILENT, address))
        assert found == "silence", address


SILENT = """
import socket, sys
with socket.socket() as s:
    s.settimeout(0.3)
    try:
        s.connect((sys.argv[1], 8080))
        print(repr("connected"))
    except TimeoutError:
        print(repr("silence"))
    except OSError as error:
        print(error.errno)
"""


@on_node
async def test_laptop_files_are_its_own(node: NodeScene) -> None:
    assert on_laptop(node, "cat", "/etc/resolv.conf") == (
        "nameserver 192.168.64.53\nsearch office.example\n"
    )
    assert "192.168.64.10\tlaptop-1" in on_laptop(node, "cat", "/etc/hosts")
    on_laptop(node, "sh", "-c", "echo changed >> /etc/resolv.conf; touch /run/private")
    assert "changed" in on_laptop(node, "cat", "/etc/resolv.conf")
    assert "changed" not in Path("/etc/resolv.conf").read_text()
    assert not Path("/run/private").exists()


@on_node
async def test_direct_pod_is_reached_from_the_laptop_while_it_is_there(node: NodeScene) -> None:
    before = on_laptop(node, "ip", "route")
    other = (await node.start("other", SERVER))["status"]["podIP"]
    pod = await node.start("direct", SERVER, labels={"ktnet.dev/via": "direct"})
    address = pod["status"]["podIP"]
    assert connect_from_laptop(node, address, 8080, 1)[0] == "192.168.64.10"
    assert connect_from_laptop(node, other, 8080, 1) == errno.ENETUNREACH
    node.delete("direct")
    await node.wait_until_gone("direct")
    assert on_laptop(node, "ip", "route") == before
    rules = run("nft", "list", "set", "ip", "ktnet_lab_node", "direct")
    assert address not in rules


@on_node
async def test_pods_know_services_by_variables(node: NodeScene) -> None:
    for name, port in (("tomcat", {"name": "http", "port": 80}), ("head-less", {"port": 1})):
        spec = {"ports": [port], **({"clusterIP": "None"} if name == "head-less" else {})}
        meta = {"name": name}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
        address = node.store.create("services", NAMESPACE, service)["spec"]["clusterIP"]
        if name == "tomcat":
            expected = address
    output = await node.run(
        "import os; print({k: v for k, v in os.environ.items() if 'TOMCAT' in k or 'LESS' in k})"
    )
    assert ast.literal_eval(output) == {
        "TOMCAT_SERVICE_HOST": expected,
        "TOMCAT_SERVICE_PORT": "80",
        "TOMCAT_SERVICE_PORT_HTTP": "80",
        "TOMCAT_PORT": f"tcp://{expected}:80",
        "TOMCAT_PORT_80_TCP": f"tcp://{expected}:80",
        "TOMCAT_PORT_80_TCP_PROTO": "tcp",
        "TOMCAT_PORT_80_TCP_PORT": "80",
        "TOMCAT_PORT_80_TCP_ADDR": expected,
    }
