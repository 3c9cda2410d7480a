"""07-exec-logs: exec over WebSockets, and logs."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime

from channels import replay_channels
from live import LiveLab
from live_pods import TERMINALS, replay_terminals
from pods import Log, LoopbackPods, bind_pod, run_pod, set_state
from replaying import Folder, Lab
from scene import build_cluster
from verdicts import judge

FOLDER = "07-exec-logs"
MATCHED_AT_LEAST = 38
MOMENTS = frozenset(
    {
        *("log-follow", "log-accept-json", "log-sinceseconds", "log-previous-ok"),
        *("log-timestamps", "log-waiting"),
    }
)
LISTED: dict[str, str] = {}
LIVE = TERMINALS


async def replay_live(lab: LiveLab) -> None:
    await replay_terminals(lab)


async def replay(folder: Folder) -> None:
    store = build_cluster(folder)
    namespace, name = folder.renamer.name("transcripts"), folder.renamer.name
    run_pod(store, namespace, name("fwd"))
    run_pod(store, namespace, name("logger"), second=name("second"))
    for pod, phase, state in (
        ("badimage", "Pending", {"waiting": {"reason": "ErrImageNeverPull"}}),
        ("succeeded", "Succeeded", {"terminated": {"exitCode": 0}}),
    ):
        container = {"name": "main", "image": "lab/any:1"}
        meta = {"name": name(pod)}
        store.create("pods", namespace, {"metadata": meta, "spec": {"containers": [container]}})
        bind_pod(store, namespace, name(pod))
        set_state(store, namespace, name(pod), phase, state)
    async with LoopbackPods() as pods, folder.open_lab(store, runtime=pods) as lab:
        pods.logs[name("logger"), False] = build_log(folder.cases["log-all"].answer)
        async with asyncio.TaskGroup() as tasks:
            for case in folder.cases:
                if case not in LIVE and case not in MOMENTS:
                    tasks.create_task(replay_one(lab, case))
        await replay_moments(lab, pods)


async def replay_moments(lab: Lab, pods: LoopbackPods) -> None:
    """Logs at moments of a pod's life, one after the other."""
    namespace, logger, cases = lab.name("transcripts"), lab.name("logger"), lab.folder.cases
    text = cases["log-timestamps"].answer
    pods.logs[logger, False] = Log([parse_stamped(line) for line in text.splitlines(True)])
    await lab.replay("log-timestamps")
    lines = build_log(cases["log-all"].answer).lines
    recent = len(re.findall(".*\n|.+", cases["log-sinceseconds"].answer))
    long_ago_ns, now_ns = 10**9, time.time_ns()
    ages = [long_ago_ns] * (len(lines) - recent) + [now_ns] * recent
    pods.logs[logger, False] = Log([(at, line) for at, (_, line) in zip(ages, lines, strict=True)])
    await lab.replay("log-sinceseconds")
    await follow(lab, pods)
    restarted = lab.name("restart2")
    run_pod(lab.store, namespace, restarted)
    ended = {"name": "main", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}
    status = {"status": {"containerStatuses": [ended]}}
    lab.store.patch("pods", namespace, restarted, status, subresource="status")
    for name, place in (
        ("log-previous-ok", (restarted, True)),
        ("log-accept-json", (lab.name("fwd"), False)),
    ):
        pods.logs[place] = build_log(lab.folder.renamer.text(cases[name].answer))
        await lab.replay(name)
    set_state(lab.store, namespace, logger, "Pending", {"waiting": {"reason": "ContainerCreating"}})
    await lab.replay("log-waiting")


async def follow(lab: Lab, pods: LoopbackPods) -> None:
    """Half of it was there already; the answer ends when the container does."""
    name = "log-follow"
    case = lab.folder.cases[name]
    lines = [(0, chunk["data"].encode()) for chunk in case.document["response"]["chunks"]]
    half = len(lines) // 2
    pods.logs[lab.name("logger"), False] = Log(lines[:half], lines[half:])
    status, _, text = await lab.send(case)
    whole = b"".join(line for _, line in lines).decode()
    differences = [] if text == whole else [f"{text!r} instead of {whole!r}"]
    lab.folder.record(name, judge(status, text, case.status, differences))


def parse_stamped(line: str) -> tuple[int, bytes]:
    """Nanoseconds since the epoch, and what was written then."""
    stamp, _, written = line.partition(" ")
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(f"{seconds}+00:00")
    return int(moment.timestamp()) * 10**9 + int(fraction), written.encode()


async def replay_one(lab: Lab, name: str) -> None:
    if name.startswith("exec-"):
        await replay_channels(lab, name)
    else:
        await lab.replay(name)


def build_log(text: str) -> Log:
    """What the pod `logger` wrote."""
    return Log([(number, line.encode()) for number, line in enumerate(re.findall(".*\n|.+", text))])
