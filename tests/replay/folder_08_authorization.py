"""08-authorization: who is asking, access reviews, 401 and 403, and Roles that are just enough."""

from __future__ import annotations

import dataclasses
import json
import re

from minimal_roles import Asked, build_request, encode
from pods import LoopbackPods, run_pod
from replaying import ADMIN, Folder, Lab
from scene import build_cluster
from verdicts import DECLINED, MATCHED, UNKNOWN, WRONG, Verdict
from yarl import URL

FOLDER = "08-authorization"
MATCHED_AT_LEAST = 43
LISTED: dict[str, str] = {}

NAMESPACE = "transcripts"
RBAC = {"apiGroup": "rbac.authorization.k8s.io"}
SPDY = frozenset({"portforward-spdy-post-create-only", "portforward-spdy-post-get-only"})


async def replay(folder: Folder) -> None:
    store = build_cluster(folder)
    namespace = folder.renamer.name(NAMESPACE)
    for account in ("limited", "min"):
        name = folder.renamer.name(account)
        store.create("serviceaccounts", namespace, {"metadata": {"name": name}})
    role = folder.cases["role-create-by-admin"].answer
    renamed = folder.renamer.document({**role, "metadata": {**role["metadata"]}})
    kept = {key: renamed["metadata"][key] for key in ("name", "annotations")}
    store.create("roles", namespace, {"metadata": kept, "rules": role["rules"]})
    bind(store, namespace, renamed["metadata"]["name"])
    run_pod(store, namespace, folder.renamer.name("fwd"))
    parse_answer(folder, "portforward-spdy-post-get-only")
    async with LoopbackPods() as pods, folder.open_lab(store, runtime=pods) as lab:
        tokens = {ADMIN: ADMIN, "": ""}
        for account in ("limited", "min"):
            tokens[account] = await ask_token(lab, account, {})
        tokens["elsewhere"] = await ask_token(lab, "limited", {"audiences": ["elsewhere"]})
        for name in folder.cases:
            if name == "minimal-roles":
                await replay_minimal_roles(lab, tokens["min"])
            else:
                await replay_case(lab, name, tokens)


def bind(store, namespace: str, name: str) -> None:
    """A Role to the ServiceAccount of the same name."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    binding = {
        "metadata": {"name": name},
        "roleRef": {**RBAC, "kind": "Role", "name": name},
        "subjects": [subject],
    }
    store.create("rolebindings", namespace, binding)


def parse_answer(folder: Folder, name: str) -> None:
    """An answer that was recorded as text is JSON all the same."""
    case = folder.cases[name]
    response = {**case.document["response"], "body": json.loads(case.answer)}
    document = {**case.document, "response": response}
    folder.cases[name] = dataclasses.replace(case, document=document)


async def ask_token(lab: Lab, account: str, spec: dict) -> str:
    """A ServiceAccount's token, by the API."""
    path = f"/api/v1/namespaces/{lab.name(NAMESPACE)}/serviceaccounts/{lab.name(account)}/token"
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    async with lab.session.post(
        lab.url + path, data=json.dumps({"spec": spec}), headers=headers, ssl=lab.tls
    ) as answer:
        return str((await answer.json())["status"]["token"])


def choose_token(lab: Lab, name: str) -> str:
    """With which of the tokens a case was recorded; empty where its own header is to go out."""
    case = lab.folder.cases[name]
    user = str(case.document.get("user") or "admin")
    if name == "token-wrong-audience":
        return "elsewhere"
    if user.startswith("system:serviceaccount:"):
        return user.rpartition(":")[2]
    return ADMIN if user.startswith("admin") else ""


async def replay_case(lab: Lab, name: str, tokens: dict[str, str]) -> None:
    case, chosen = lab.folder.cases[name], choose_token(lab, name)
    if name in SPDY:
        allow_min(lab, "portforward", ["get"] if "get-only" in name else ["create"])
    elif "without-create" in name:
        allow_min(lab, case.path.rpartition("/")[2], ["get"])
    await lab.replay(name, token=tokens[chosen])


def allow_min(lab: Lab, part: str, verbs: list[str]) -> None:
    set_rules(lab, [{"apiGroups": [""], "resources": [f"pods/{part}"], "verbs": verbs}])


def set_rules(lab: Lab, rules: list) -> None:
    """The ServiceAccount `min` may do just that, in its namespace."""
    namespace, name = lab.name(NAMESPACE), lab.name("min")
    role = {"metadata": {"name": name}, "rules": rules}
    lab.store.update("roles", namespace, name, role)
    if not lab.store.has("rolebindings", namespace, name):
        bind(lab.store, namespace, name)


async def replay_minimal_roles(lab: Lab, token: str) -> None:
    """Of each action its status and, of a refusal, its message."""
    wrong, declined = [], []
    for recorded in lab.folder.cases["minimal-roles"].document["results"]:
        result = lab.folder.renamer.document(recorded)
        asked = build_request(recorded["action"], lab.name)
        set_rules(lab, result["role_rules"])
        prepare(lab, asked)
        status, message = await send(lab, asked, token)
        where = f"{recorded['action']} with {result['role_rules']}"
        wanted = result["message"] and hide_versions(result["message"])
        if status == 501 or message in UNKNOWN:
            declined.append(f"{where}: {message}")
        elif status != result["status"] or (wanted and hide_versions(message) != wanted):
            wrong.append(f"{where}: {status} {message} instead of {result['status']} {wanted}")
    verdict = Verdict(DECLINED, tuple(declined)) if declined else Verdict(MATCHED)
    lab.folder.record("minimal-roles", Verdict(WRONG, tuple(wrong)) if wrong else verdict)


def hide_versions(message: str) -> str:
    return re.sub(r"in record \(\d+\)", "in record (N)", message)


def prepare(lab: Lab, asked: Asked) -> None:
    namespace = lab.name(NAMESPACE)
    if asked.needs is not None:
        plural, name, obj = asked.needs
        if not lab.store.has(plural, namespace, name):
            lab.store.create(plural, namespace, {"metadata": {"name": name}, **obj})
    if asked.lacks is not None and lab.store.has(asked.lacks[0], namespace, asked.lacks[1]):
        lab.store.delete(asked.lacks[0], namespace, asked.lacks[1])


async def send(lab: Lab, asked: Asked, token: str) -> tuple[int, str]:
    url = lab.url + asked.path.format(ns=lab.name(NAMESPACE))
    headers = {**asked.headers, "Authorization": f"Bearer {token}"}
    async with lab.session.request(
        asked.method, URL(url, encoded=True), headers=headers, data=encode(asked), ssl=lab.tls
    ) as answer:
        if answer.status == 101 or (answer.status == 200 and "watch=1" in asked.path):
            answer.close()
            return answer.status, ""
        text = await answer.text()
    try:
        return answer.status, str(json.loads(text).get("message", ""))
    except ValueError:
        return answer.status, text
