"""06-portforward: handshakes, and every frame of a port-forward.

What waits for minutes does so on a clock that runs fast.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from functools import partial

from channels import replay_channels
from fast_clock import FastLoop, run_in_fast_loop
from folder_08_authorization import ask_token
from live import LiveLab
from live_pods import FORWARDS, replay_forwards
from pods import LoopbackPods, bind_pod, run_pod, set_state
from replaying import ADMIN, Folder, Lab
from scene import build_cluster

FOLDER = "06-portforward"
MATCHED_AT_LEAST = 55
LISTED: dict[str, str] = {}
LIVE = FORWARDS
IDLE = ("idle-270s-no-ping", "idle-270s-ping-30s", "idle-900s-no-ping")
IDLE_SPEED = 300.0


async def replay_live(lab: LiveLab) -> None:
    await replay_forwards(lab)


async def replay(folder: Folder) -> None:
    store = build_cluster(folder)
    namespace, name = folder.renamer.name("transcripts"), folder.renamer.name
    run_pod(store, namespace, name("fwd"))
    for pod in ("badimage", "pending", "succeeded"):
        container = {"name": "main", "image": "lab/any:1"}
        meta = {"name": name(pod)}
        store.create("pods", namespace, {"metadata": meta, "spec": {"containers": [container]}})
    bind_pod(store, namespace, name("badimage"))
    bind_pod(store, namespace, name("succeeded"))
    set_state(store, namespace, name("succeeded"), "Succeeded", {"terminated": {"exitCode": 0}})
    store.create("serviceaccounts", namespace, {"metadata": {"name": name("limited")}})
    await run_in_fast_loop(partial(replay_idle, folder, speed=IDLE_SPEED))
    async with LoopbackPods() as pods, folder.open_lab(store, runtime=pods) as lab:
        pods.silent.add(name("badimage"))
        limited = await ask_token(lab, "limited", {})
        # Side by side: most of them wait, as they did when they were recorded.
        async with asyncio.TaskGroup() as tasks:
            for case in folder.cases:
                if case not in LIVE and case not in IDLE:
                    tasks.create_task(replay_one(lab, case, limited))


async def replay_idle(folder: Folder, loop: FastLoop, *, speed: float) -> None:
    """Forwards on which nothing is said for minutes, one after the other."""
    store = build_cluster(folder)
    for pod in ("fwd", "srv"):
        run_pod(store, folder.renamer.name("transcripts"), folder.renamer.name(pod))

    async def act(action: str) -> Sequence[str]:
        loop.run_at(speed if action == "idle begins" else 1.0)
        return []

    async with LoopbackPods() as pods, folder.open_lab(store, runtime=pods) as lab:
        for case in IDLE:
            await replay_channels(lab, case, act=act, paced=True)


async def replay_one(lab: Lab, name: str, limited: str) -> None:
    case, token = lab.folder.cases[name], ADMIN
    if name == "unauthorized":
        token = ""
    elif name == "rbac-missing":
        token = limited
    elif name == "token-in-subprotocol":
        token = ""
        encoded = base64.urlsafe_b64encode(limited.encode()).decode().rstrip("=")
        offered = case.headers["Sec-WebSocket-Protocol"]
        placeholder = "<TOKEN placeholder, base64url>"
        case.headers["Sec-WebSocket-Protocol"] = offered.replace(placeholder, encoded)
    await replay_channels(lab, name, token=token)
