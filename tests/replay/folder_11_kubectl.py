"""11-kubectl-requests: the requests of kubectl's own commands, in their order.

What was recorded of them is which they were and with which status each was answered, so that is
what is compared; a command counts as declined where one of its requests is. Bodies were recorded
for some only: for the others stands one of the same kind.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pods import Log, LoopbackPods, run_pod, set_state
from recordings import Case, load_cases
from replaying import ADMIN, Folder, Lab, parse_answer
from scene import build_cluster
from verdicts import DECLINED, MATCHED, WRONG, Verdict, judge

FOLDER = "11-kubectl-requests"
MATCHED_AT_LEAST = 15
LISTED: dict[str, str] = {}

TEST = "transcripts"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PRESENT = frozenset({"apply-again", "apply-server-side", "wait-delete"})
"""Commands about a ConfigMap that was there already."""
TEMPLATE = {
    "metadata": {"labels": {"app": "df"}},
    "spec": {"containers": [{"name": "main", "image": "lab/any:1"}]},
}
DEPLOYMENT = {"selector": {"matchLabels": {"app": "df"}}, "template": TEMPLATE}


def load(folder: Path) -> dict[str, Case]:
    """With requests as the other folders have them."""
    return {name: parse_requests(case) for name, case in load_cases(folder).items()}


def parse_requests(case: Case) -> Case:
    requests: list[dict[str, Any]] = []
    body = None
    for each in case.document["requests"]:
        if "url" not in each:
            body = each["request_body"]
            continue
        place = urlsplit(each["url"])
        requests.append(
            {
                "method": each["method"],
                "path": place.path,
                "query": parse_qsl(place.query),
                "headers": dict(line.split(": ", 1) for line in each["headers"]),
                "body": json.loads(json.loads(body)) if body and body != "<" else None,
                "status": int(each["response_status"].split(" ")[0]),
            }
        )
        body = None
    return Case(case.folder, case.name, {**case.document, "requests": requests})


async def replay(folder: Folder) -> None:
    async with LoopbackPods() as pods:
        for name in folder.cases:
            async with folder.open_lab(build_cluster(folder), runtime=pods) as lab:
                prepare(lab, pods, name)
                folder.record(name, await replay_command(lab, name))


def prepare(lab: Lab, pods: LoopbackPods, name: str) -> None:
    """What the commands were about."""
    store, namespace = lab.store, lab.name(TEST)
    for pod in ("fwd", "logger"):
        run_pod(store, namespace, lab.name(pod))
    end = {"terminated": {"exitCode": 0}}
    if name == "delete-pod-now":
        # It had ended: nothing waits for it.
        set_state(store, namespace, lab.name("logger"), "Succeeded", end)
    pods.logs[lab.name("logger"), False] = Log([(1, b"line\n")])
    meta = {"metadata": {"name": lab.name("df-dep")}, "spec": DEPLOYMENT}
    store.create("deployments", namespace, meta)
    service = {"metadata": {"name": lab.name("df-svc")}, "spec": {"ports": [{"port": 80}]}}
    store.create("services", namespace, service)
    web = {"metadata": {"name": lab.name("web")}, "spec": {"ports": [{"port": 80}]}}
    store.create("services", lab.name("demo"), web)
    behind = next(
        (
            each["path"].split("/")[6]
            for each in lab.folder.cases["port-forward-svc"].document["requests"]
            if "/pods/" in each["path"]
        ),
        "",
    )
    run_pod(store, lab.name("demo"), lab.name(behind))
    if name in PRESENT:
        store.create("configmaps", namespace, {"metadata": {"name": lab.name("kc")}})


async def replay_command(lab: Lab, name: str) -> Verdict:
    wrong, declined = [], []
    for recorded in lab.folder.cases[name].document["requests"]:
        status, answer = await send(lab, recorded)
        where = f"{recorded['method']} {recorded['path']}"
        verdict = judge(status, answer, recorded["status"], [])
        if verdict.result == WRONG:
            wrong.append(f"{where}: {verdict.details[0]}")
        elif verdict.result == DECLINED:
            declined.append(f"{where}: {verdict.details[0]}")
            if recorded["method"] != "GET":
                # What follows rests on what it should have written.
                break
        if recorded["method"] == "DELETE" and "/pods/" in recorded["path"]:
            end_pod(lab, recorded["path"])
    if wrong:
        return Verdict(WRONG, tuple(wrong))
    return Verdict(DECLINED, tuple(declined)) if declined else Verdict(MATCHED)


def end_pod(lab: Lab, path: str) -> None:
    """The kubelet's part."""
    place = ("pods", lab.name(TEST), lab.name(path.rpartition("/")[2]))
    if lab.store.has(*place):
        lab.store.delete(*place, grace_s=0)


def choose_body(lab: Lab, recorded: dict[str, Any]) -> bytes | None:
    """The recorded one, or one of that kind where it was not recorded."""
    if recorded["method"] in {"GET", "DELETE"}:
        return None
    if recorded["headers"].get("Content-Type") == "application/vnd.kubernetes.protobuf":
        return b"k8s\x00"
    if recorded["body"] is not None:
        return json.dumps(lab.given(recorded["body"])).encode()
    return json.dumps({"metadata": {"name": lab.name("kc")}}).encode()


async def send(lab: Lab, recorded: dict[str, Any]) -> tuple[int, Any]:
    """Status and answer; of what goes on, only that it began."""
    headers = {**recorded["headers"], "Authorization": f"Bearer {ADMIN}"}
    if "Sec-Websocket-Protocol" in headers:
        headers |= UPGRADE
    rename = lab.folder.renamer.text
    async with (
        asyncio.timeout(10),
        lab.session.request(
            recorded["method"],
            lab.url + rename(recorded["path"]),
            params=[(key, rename(value)) for key, value in recorded["query"]],
            headers=headers,
            data=choose_body(lab, recorded),
            ssl=lab.tls,
            skip_auto_headers=("Content-Type", "Accept"),
        ) as answer,
    ):
        if answer.status == 101 or (answer.status == 200 and "watch" in dict(recorded["query"])):
            answer.close()
            return answer.status, None
        return answer.status, parse_answer(await answer.read())
