"""06, 07 and 09, the part of a kubelet and of containers: forwards into what ends, terminals, and
what a restricted container finds."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from channels import parse_head, replay_channels
from live import LiveLab, call_here, open_namespace
from verdicts import MATCHED, WRONG, Verdict

TEST, RESTRICTED = "transcripts", "transcripts-restricted"
FORWARDS = frozenset(
    {
        *("container-restarts", "container-restarts-silent-forward"),
        *("pod-deleted", "pod-deleted-grace-0", "pod-deleted-ignores-sigterm"),
    }
)
TERMINALS = frozenset({"exec-v4-tty-resize", "exec-v5-tty-resize"})
CONTAINERS = frozenset(
    {
        *("pod-restricted-no-sysctls-log", "pod-restricted-sysctls-log"),
        *("pod-restricted-sysctls-off-log", "pod-restricted-sysctls-portforward-80"),
    }
)

SERVER = """
import os, signal, socket, sys, threading, time
def end(*_):
    time.sleep(0.5)
    os._exit(0)
if "deaf" not in sys.argv:
    signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))
def serve(connection, peer):
    connection.sendall(f"peer={peer} local={connection.getsockname()}\\n".encode())
    while data := connection.recv(65536):
        connection.sendall(data)
server = socket.create_server(("", 7001))
print("listening", flush=True)
while True:
    connection, peer = server.accept()
    print("greeted", flush=True)
    threading.Thread(target=serve, args=(connection, peer), daemon=True).start()
"""
"""Greets and echoes; exits at SIGTERM a moment later, unless it is deaf, and with 3 when asked."""

IMAGE = "python:3.12-slim"


def build_server(lab: LiveLab, name: str, *words: str, grace_s: int) -> Any:
    container = {"name": "main", "image": IMAGE, "command": ["python", "-c", SERVER, *words]}
    spec = {"terminationGracePeriodSeconds": grace_s, "containers": [container]}
    return {"metadata": {"name": lab.name(name)}, "spec": call_here(spec)}


async def replay_forwards(lab: LiveLab) -> None:
    """The kubelet restarts a container, or ends it, while a forward into it is open."""
    async with open_namespace(lab, TEST) as namespace, asyncio.TaskGroup() as tasks:
        pods = f"/api/v1/namespaces/{namespace}/pods"
        for case, name, grace_s, words in (
            ("pod-deleted", "delme2", 4, ()),
            ("pod-deleted-grace-0", "delme3", 4, ()),
            ("pod-deleted-ignores-sigterm", "stubborn", 6, ("deaf",)),
        ):
            server = build_server(lab, name, *words, grace_s=grace_s)
            tasks.create_task(replay_ended(lab, case, pods, server))
        tasks.create_task(replay_restarted(lab, pods))


async def start(lab: LiveLab, pods: str, pod: Any, said: str = "listening\n") -> str:
    """A pod that runs and has said that in its log; its path."""
    await lab.call("POST", pods, pod)
    place = f"{pods}/{pod['metadata']['name']}"
    await lab.wait_for(place, lambda found: summarise(found)["phase"] == "Running")
    await lab.wait_for(f"{place}/log", lambda found: said in found)
    return place


async def replay_ended(lab: LiveLab, case: str, pods: str, pod: Any) -> None:
    place = await start(lab, pods, pod)

    async def act(action: str) -> Sequence[str]:
        if action.startswith("DELETE pod"):
            now = {"gracePeriodSeconds": "0"} if "gracePeriodSeconds=0" in action else {}
            await lab.call("DELETE", place, **now)
            return []
        if "gone from the API" in action:
            await lab.wait_for(place, lambda found: found is None)
            return []
        return await look(lab, place, action)

    await replay_channels(lab, case, act=act)


async def replay_restarted(lab: LiveLab, pods: str) -> None:
    place = await start(lab, pods, build_server(lab, "restart2", grace_s=1))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(replay_channels(lab, "container-restarts-silent-forward"))

        async def act(action: str) -> Sequence[str]:
            if "made to exit with code 3" in action:
                await lab.wait_for(f"{place}/log", lambda found: found.count("greeted") == 2)
                await execute(lab, place, "sh", "-c", "kill -USR1 1")
                await lab.wait_for(place, lambda found: summarise(found)["restartCount"] == [1])
                return []
            return await look(lab, place, action)

        tasks.create_task(replay_channels(lab, "container-restarts", act=act))


async def execute(lab: LiveLab, place: str, *command: str) -> None:
    """A command in a pod, to its end."""
    query = [("command", word) for word in command]
    async with lab.session.ws_connect(
        f"{lab.url}{place}/exec",
        params=[*query, ("stdout", "true")],
        protocols=["v5.channel.k8s.io"],
        headers={"Authorization": f"Bearer {lab.admin}"},
        ssl=lab.tls,
    ) as channel:
        async for _ in channel:
            pass


async def look(lab: LiveLab, place: str, action: str) -> list[str]:
    """Whether it is as it was seen: a new forward's answer, the pod's state."""
    differences = []
    if forward := re.search(r"new forward[^:]*: HTTP (\d+)", action):
        differences += await compare_forward(lab, place, int(forward[1]), action)
    elif "new forward to the same pod worked" in action:
        differences += await compare_forward(lab, place, 101, action)
    if shown := re.search(r"pod(?: now)?: (\{.*\})", action):
        wanted = json.loads(shown[1])
        if wanted == {"http": 404}:
            await lab.wait_for(place, lambda found: found is None)
        else:
            differences += compare_summaries(wanted, summarise(await lab.find(place)))
    return differences


def compare_summaries(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Of times and addresses, whether there are any."""
    return [
        f"{key} {found[key]} instead of {value}"
        for key, value in wanted.items()
        if (found[key] is None) != (value is None)
        or (key in {"phase", "restartCount", "state"} and found[key] != value)
    ]


async def compare_forward(lab: LiveLab, place: str, status: int, action: str) -> list[str]:
    """A new forward: its status, and what is said in a refusal."""
    reader, writer = await lab.open_stream()
    try:
        lines = (
            f"GET {place}/portforward?ports=7001 HTTP/1.1",
            *("Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            *("Sec-WebSocket-Protocol: v4.channel.k8s.io", f"Authorization: Bearer {lab.admin}"),
        )
        writer.write("\r\n".join([*lines, "", ""]).encode())
        found, headers = parse_head((await reader.readuntil(b"\r\n\r\n")).decode())
        if found != status:
            return [f"{action[:40]}: HTTP {found} instead of {status}"]
        if status == 404:
            body = json.loads(await reader.readexactly(int(headers["Content-Length"])))
            said = lab.called_here(json.loads(action[action.index("{") :]))
            return [] if body == said else [f"{body} instead of {said}"]
        return []
    finally:
        writer.transport.abort()


def summarise(pod: Any) -> dict[str, Any]:
    """As the recorder summed it up."""
    status = pod["status"]
    containers = status.get("containerStatuses") or []
    return {
        "phase": status.get("phase"),
        "deletionTimestamp": pod["metadata"].get("deletionTimestamp"),
        "restartCount": [each["restartCount"] for each in containers],
        "state": [next(iter(each["state"])) for each in containers],
        "podIP": status.get("podIP"),
    }


async def replay_terminals(lab: LiveLab) -> None:
    """A command at a terminal whose size is told."""
    async with open_namespace(lab, TEST) as namespace:
        pods = f"/api/v1/namespaces/{namespace}/pods"
        await start(lab, pods, build_server(lab, "fwd", grace_s=1))
        for case in sorted(TERMINALS):
            await replay_channels(lab, case)


async def replay_containers(lab: LiveLab) -> None:
    """What a restricted container found, and a forward to its port 80."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    async with (
        open_namespace(lab, TEST) as beside,
        open_namespace(lab, RESTRICTED, **labels) as namespace,
    ):
        # Whom it pings.
        other = build_server(lab, "fwd", grace_s=1)
        place = await start(lab, f"/api/v1/namespaces/{beside}/pods", other)
        address = summarise(await lab.find(place))["podIP"]
        pods = f"/api/v1/namespaces/{namespace}/pods"
        for kind in ("no-sysctls", "sysctls", "sysctls-off"):
            body = lab.folder.cases[f"pod-restricted-{kind}-create"].body
            pod = lab.called_here(body)
            for container, recorded in zip(
                pod["spec"]["containers"], body["spec"]["containers"], strict=True
            ):
                # A program stays as it is, words that are names elsewhere included.
                program, *targets = recorded["command"][3:]
                container["command"] = ["python", "-u", "-c", program, address, *targets[1:]]
            place = await start(lab, pods, pod, "DONE\n")
            compare_log(lab, f"pod-restricted-{kind}-log", await lab.find(f"{place}/log"))
        await replay_channels(lab, "pod-restricted-sysctls-portforward-80")


def compare_log(lab: LiveLab, case: str, found: str) -> None:
    """Line by line; what is another one's each time aside."""
    recorded = settle_log(lab.folder.cases[case].answer).splitlines()
    lines = settle_log(found).splitlines()
    wrong = tuple(
        f"{new!r} instead of {old!r}"
        for old, new in zip(recorded, lines, strict=False)
        if old != new
    )
    if len(recorded) != len(lines):
        wrong += (f"{len(lines)} lines instead of {len(recorded)}",)
    lab.folder.record(case, Verdict(WRONG, wrong) if wrong else Verdict(MATCHED))


def settle_log(text: str) -> str:
    """An echo's identifier (which must be that of its socket), its time, the pod that was asked."""
    for pattern, fixed in (
        (r"id (\d+) local id \('0\.0\.0\.0', \1\)", "id N local id N"),
        (r"\d+\.\d ms", "T ms"),
        (r"10\.244\.0\.\d+", "POD"),
    ):
        text = re.sub(pattern, fixed, text)
    return text
