"""06-portforward: handshakes, and every frame of a port-forward.

Not replayed: what waits for minutes, and pods and containers that end meanwhile.
"""

from __future__ import annotations

import asyncio
import base64

from channels import replay_channels
from folder_08_authorization import ask_token
from pods import LoopbackPods, bind_pod, run_pod, set_state
from replaying import ADMIN, Folder, Lab
from scene import build_cluster

FOLDER = "06-portforward"
MATCHED_AT_LEAST = 47

_MINUTES = "waits for minutes"
_KUBELET = "needs a kubelet that ends containers: tests/lab/test_connect_breaks.py"
LISTED = {
    **dict.fromkeys(("idle-270s-no-ping", "idle-270s-ping-30s", "idle-900s-no-ping"), _MINUTES),
    **dict.fromkeys(
        (
            *("container-restarts", "container-restarts-silent-forward"),
            *("pod-deleted", "pod-deleted-grace-0", "pod-deleted-ignores-sigterm"),
        ),
        _KUBELET,
    ),
}


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
    async with LoopbackPods() as pods, folder.open_lab(store, runtime=pods) as lab:
        pods.silent.add(name("badimage"))
        limited = await ask_token(lab, "limited", {})
        # Side by side: most of them wait, as they did when they were recorded.
        async with asyncio.TaskGroup() as tasks:
            for case in folder.cases:
                if case not in LISTED:
                    tasks.create_task(replay_one(lab, case, limited))


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
