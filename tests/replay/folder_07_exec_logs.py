"""07-exec-logs: exec over WebSockets, and logs.

Not replayed: what needs a terminal or a container runtime's own words (tests/lab has those), and
logs of a container that goes on writing.
"""

from __future__ import annotations

import asyncio
import re

from channels import replay_channels
from pods import Log, LoopbackPods, bind_pod, run_pod, set_state
from replaying import Folder, Lab
from scene import build_cluster

FOLDER = "07-exec-logs"
MATCHED_AT_LEAST = 28

LEFT_OUT = frozenset(
    {
        *("exec-v4-tty-resize", "exec-v5-tty-resize"),
        *("log-follow", "log-accept-json", "log-sinceseconds", "log-previous-ok"),
        *("log-timestamps", "log-waiting"),
    }
)


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
                if case not in LEFT_OUT:
                    tasks.create_task(replay_one(lab, case))


async def replay_one(lab: Lab, name: str) -> None:
    if name.startswith("exec-"):
        await replay_channels(lab, name)
    else:
        await lab.replay(name)


def build_log(text: str) -> Log:
    """What the pod `logger` wrote."""
    return Log([(number, line.encode()) for number, line in enumerate(re.findall(".*\n|.+", text))])
