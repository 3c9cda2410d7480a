"""What a process in a pod is, may and sees: as recorded of a real node, where that was recorded."""

import ast
from pathlib import Path

import pytest
from node_scene import NAMESPACE, NodeScene, on_node, state_of, waits_for

pytestmark = pytest.mark.lab

RESTRICTED = {
    "runAsUser": 65534,
    "runAsGroup": 65534,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}

PROBE = """
import os, socket
found = {}
status = dict(l.split(":\\t") for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    found[key] = int(status[key], 16)
found["NoNewPrivs"] = status["NoNewPrivs"]
found["SigIgn"] = int(status["SigIgn"], 16)
found["ids"] = (os.getuid(), os.getgid(), os.getgroups(), os.getpid())
def attempt(name, function):
    try:
        function()
        found[name] = "ok"
    except OSError as error:
        found[name] = error.errno
attempt("root", lambda: open("/x", "w"))
attempt("tmp", lambda: open("/tmp/x", "w"))
attempt("usr", lambda: open("/usr/x", "w"))
attempt("sysctl", lambda: open("/proc/sys/kernel/core_pattern", "w"))
for port in (80, 443, 53):
    attempt(f"bind {port}", lambda: socket.create_server(("", port)).close())
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
attempt("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).close())
attempt("tun", lambda: os.open("/dev/net/tun", os.O_RDWR))
attempt("mark", lambda: socket.socket().setsockopt(socket.SOL_SOCKET, 36, 5))
for name in ("net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range",
             "net/ipv4/ip_forward", "net/ipv4/tcp_keepalive_time"):
    found[name] = open("/proc/sys/" + name).read().split()
found["descriptors"] = sorted(map(int, os.listdir("/proc/self/fd")))[:4]
found["processes"] = sorted(int(n) for n in os.listdir("/proc") if n.isdigit())
print(found)
"""


@on_node
async def test_restricted_pod_is_as_restricted_as_on_a_real_node(node: NodeScene) -> None:
    output = await node.run(
        PROBE,
        container={"securityContext": RESTRICTED_CONTAINER},
        securityContext=RESTRICTED,
    )
    found = ast.literal_eval(output)
    assert found["ids"] == (65534, 65534, [65534], 1)
    assert [found[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 5
    assert found["NoNewPrivs"] == "1"
    assert (found["root"], found["tmp"], found["usr"], found["sysctl"]) == (30, 30, 30, 30)
    assert (found["bind 80"], found["bind 443"], found["bind 53"]) == ("ok", "ok", "ok")
    assert (found["raw"], found["packet"], found["mark"]) == (1, 1, 1)
    assert found["ping"] == "ok"
    assert found["tun"] == 2
    assert found["net/ipv4/ip_unprivileged_port_start"] == ["0"]
    assert found["net/ipv4/ping_group_range"] == ["0", "2147483647"]
    assert found["net/ipv4/ip_forward"] == ["0"]
    assert found["descriptors"] == [0, 1, 2, 3]  # the last one is the listing's own
    assert found["processes"] == [1]
    user = node.get("run")["status"]["containerStatuses"][0]["user"]
    assert user == {"linux": {"uid": 65534, "gid": 65534, "supplementalGroups": [65534]}}


@on_node
async def test_root_in_a_pod_has_the_default_capabilities_and_no_power_over_the_machine(
    node: NodeScene,
) -> None:
    output = await node.run(
        PROBE,
        securityContext={
            "sysctls": [
                {"name": "net.ipv4.ip_unprivileged_port_start", "value": "1024"},
                {"name": "net.ipv4.tcp_keepalive_time", "value": "77"},
            ]
        },
    )
    found = ast.literal_eval(output)
    default = 0x00000000A80425FB  # as Docker's and containerd's pods print it
    assert found["CapPrm"] == found["CapEff"] == found["CapBnd"] == default
    assert found["ids"] == (0, 0, [0], 1)
    assert (found["root"], found["tmp"]) == ("ok", "ok")
    assert (found["usr"], found["sysctl"]) == (30, 30)
    assert found["raw"] == "ok"
    assert found["net/ipv4/ip_unprivileged_port_start"] == ["1024"]
    assert found["net/ipv4/tcp_keepalive_time"] == ["77"]


IMPORTS = """
import importlib.util, sys
names = ("asyncssh", "cryptography", "cffi", "ktnet.wire", "ktnet.shadow", "ktnet.errors",
         "kubernetes", "pytest", "aiohttp", "pyroute2", "dnslib", "ktnet.lab", "ktnet.cluster",
         "ktnet.session", "pip", "apt_pkg")
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print([name for name in names if there(name)])
import asyncssh, os
print(sorted(os.listdir("/")))
"""


@on_node
async def test_shadow_sees_its_own_modules_and_their_dependencies_only(node: NodeScene) -> None:
    (image,) = (name for name in node.kubelet.images if name.startswith("ktnet-shadow:"))
    output = await node.run(
        IMPORTS, container={"image": image, "securityContext": {"readOnlyRootFilesystem": True}}
    )
    modules, root = map(ast.literal_eval, output.splitlines())
    assert modules == [
        *("asyncssh", "cryptography", "cffi", "ktnet.wire", "ktnet.shadow", "ktnet.errors")
    ]
    assert {"work", "home", "opt", "srv", "mnt"}.isdisjoint(root)
    assert node.get("run")["status"]["containerStatuses"][0]["user"]["linux"]["uid"] == 65534


@on_node
async def test_image_that_runs_as_root_is_refused_to_a_pod_that_must_not(node: NodeScene) -> None:
    node.create("rooted", {"command": ["true"], "securityContext": {"runAsNonRoot": True}})
    pod = await node.wait_until("rooted", waits_for("CreateContainerConfigError"))
    message = state_of(pod)["waiting"]["message"]
    assert message.startswith("container has runAsNonRoot and image will run as root (pod: ")


@on_node
async def test_privileged_container_is_refused(node: NodeScene) -> None:
    node.create("mighty", {"command": ["true"], "securityContext": {"privileged": True}})
    await node.wait_until("mighty", waits_for("CreateContainerError"))


@on_node
async def test_unsafe_sysctl_fails_the_pod(node: NodeScene) -> None:
    unsafe = [{"name": "net.ipv4.ip_forward", "value": "1"}]
    node.create("unsafe", {"command": ["true"]}, securityContext={"sysctls": unsafe})
    pod = await node.wait_until("unsafe", lambda pod: pod["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "SysctlForbidden"
    assert pod["status"]["message"] == (
        'Pod was rejected: forbidden sysctl: "net.ipv4.ip_forward" not allowlisted'
    )
    assert "containerStatuses" not in pod["status"]


FILES = """
import os
for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname"):
    print(open(name).read(), end="")
print(os.uname().nodename)
for name in ("A", "B", "C", "D", "E", "WHO", "HOSTNAME"):
    print(name, os.environ.get(name))
print(sorted(os.listdir("/config")), open("/config/renamed").read(), open("/who/name").read())
print(oct(os.stat("/secret/key").st_mode)[-3:], open("/secret/key").read())
try: open("/config/renamed", "w")
except OSError as error: print(error.errno)
open("/var/run/scratch/x", "w").write("y")
"""


@on_node
async def test_files_variables_and_volumes(node: NodeScene) -> None:
    for plural, kind, data in (
        ("configmaps", "ConfigMap", {"data": {"k": "v", "other": "o"}}),
        ("secrets", "Secret", {"stringData": {"key": "hush"}}),
    ):
        obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "settings"}, **data}
        node.store.create(plural, NAMESPACE, obj)
    field = {"fieldRef": {"fieldPath": "status.podIP"}}
    optional = {"configMapKeyRef": {"name": "none", "key": "k", "optional": True}}
    output = await node.run(
        FILES,
        name="files",
        hostname="db-0",
        subdomain="db",
        labels={"who": "me"},
        container={
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "$(A) $$(A) $(NONE)"},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}},
                {"name": "D", "valueFrom": field},
                {"name": "E", "valueFrom": optional},
            ],
            "envFrom": [{"secretRef": {"name": "settings"}, "prefix": "WHO"}],
            "volumeMounts": [
                {"name": "config", "mountPath": "/config"},
                {"name": "who", "mountPath": "/who"},
                {"name": "secret", "mountPath": "/secret"},
                {"name": "scratch", "mountPath": "/var/run/scratch"},
            ],
        },
        volumes=[
            {
                "name": "config",
                "configMap": {"name": "settings", "items": [{"key": "k", "path": "renamed"}]},
            },
            {
                "name": "who",
                "downwardAPI": {
                    "items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.labels['who']"}}]
                },
            },
            {"name": "secret", "secret": {"secretName": "settings", "defaultMode": 0o400}},
            {"name": "scratch", "emptyDir": {}},
        ],
    )
    pod = node.get("files")
    assert pod["status"]["phase"] == "Succeeded", output
    address = pod["status"]["podIP"]
    assert output.splitlines() == [
        "search demo.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        f"{address}\tdb-0.db.demo.svc.cluster.local\tdb-0",
        "db-0",
        "db-0",
        "A 1",
        "B 1 $(A) $(NONE)",
        "C v",
        f"D {address}",
        "E None",
        "WHO None",
        "HOSTNAME db-0",
        "['renamed'] v me",
        "400 hush",
        "30",
    ]


@on_node
async def test_paths_in_a_spec_do_not_lead_out_of_the_container(node: NodeScene) -> None:
    # /var/run is a link in the image, and the last one climbs.
    mounts = [
        {"name": "scratch", "mountPath": "/var/run/ktnet-node-escape"},
        {"name": "scratch", "mountPath": "/a/../../../../tmp/ktnet-node-escape"},
    ]
    output = await node.run(
        "import os; print(os.path.ismount('/run/ktnet-node-escape'), "
        "os.path.ismount('/tmp/ktnet-node-escape'))",
        container={"volumeMounts": mounts},
        volumes=[{"name": "scratch", "emptyDir": {}}],
    )
    assert output == "True True\n"
    assert not Path("/run/ktnet-node-escape").exists()
    assert not Path("/tmp/ktnet-node-escape").exists()
