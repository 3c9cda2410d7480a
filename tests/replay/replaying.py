"""Sends recorded requests to the lab's API server and judges the answers.

A folder of recordings has a driver, a module `folder_NN_subject`, which knows in which order its
cases were recorded and what had to be there before them. It defines `FOLDER`, `MATCHED_AT_LEAST`
(below which a test fails), `LISTED` (which cases it leaves out, each with its reason) and
`async def replay(folder: Folder)`; also `load`, where a file holds several cases, and `LIVE` and
`async def replay_live(lab: LiveLab)` for those that take a whole lab (live.py).
"""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml
from comparing import Bindings, compare
from recordings import Case
from renaming import Renamer
from request_kinds import Kind, kind_of
from verdicts import DECLINED, MATCHED, Results, Verdict, judge

from ktnet.lab.api.authentication import MASTERS, User
from ktnet.lab.api.authorization import Authorizer
from ktnet.lab.api.resources import RESOURCES
from ktnet.lab.api.server import open_api_server
from ktnet.lab.api.store import Store
from ktnet.lab.api.tls import build_certificates

CERTIFICATES = build_certificates(["127.0.0.1"])
ADMIN = "the-token-of-the-cluster-admin"
COMPARED_HEADERS = ("Warning", "Content-Type")


class NoRuntime:
    """No pod runs: for what asks about objects only."""

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


class Folder:
    """The cases of one folder, renamed, and what became of them."""

    def __init__(
        self, name: str, cases: dict[str, Case], listed: Mapping[str, str], seed: int
    ) -> None:
        self.name, self.seed = name, seed
        self.renamer = Renamer(seed, (case.document for case in cases.values()))
        self.cases = cases
        self.results = Results(name, frozenset(cases), listed)
        self.matched_kinds: set[Kind] = set()
        """Of the requests whose answers matched (request_kinds.Kind)."""

    def record(self, name: str, verdict: Verdict) -> None:
        """What became of a case."""
        case = self.cases[name]
        if verdict.result == MATCHED and "request" in case.document and is_proof(case):
            self.matched_kinds.add(kind_of(case))
        self.results.verdicts[name] = verdict

    def decline(self, name: str, why: str) -> None:
        """A case that can't be replayed because the lab declined what came before it."""
        self.record(name, Verdict(DECLINED, (why,)))

    @asynccontextmanager
    async def open_lab(
        self,
        store: Store | None = None,
        *,
        runtime: Any = None,
        authorize: Authorizer | None = None,
        tokens: dict[str, User] | None = None,
    ) -> AsyncIterator[Lab]:
        """An API server on loopback, by default with an empty store and no pods."""
        store = store or Store()
        users = {ADMIN: User("kubernetes-admin", (MASTERS,)), **(tokens or {})}
        async with (
            open_api_server(
                store,
                runtime or NoRuntime(),
                address="127.0.0.1",
                port=0,
                certificates=CERTIFICATES,
                tokens=users,
                authorize=authorize,
            ) as server,
            aiohttp.ClientSession() as session,
        ):
            yield Lab(self, store, server.url, session)


def is_proof(case: Case) -> bool:
    """Whether a match shows what such a request does: a refusal doesn't, nor does another form."""
    return case.status < 400 and ";as=" not in case.headers.get("Accept", "")


class Lab:
    """A running API server to which cases are replayed; it remembers what stands for what."""

    def __init__(
        self, folder: Folder, store: Store, url: str, session: aiohttp.ClientSession
    ) -> None:
        self.folder, self.store, self.url, self.session = folder, store, url, session
        self.tls = ssl.create_default_context(cadata=CERTIFICATES.ca_pem)
        self.bindings = Bindings()
        self.admin = ADMIN

    async def open_stream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the API server."""
        parts = urlsplit(self.url)
        return await asyncio.open_connection(
            parts.hostname, parts.port, ssl=self.tls, server_hostname="127.0.0.1"
        )

    def name(self, name: str) -> str:
        """What a recorded name is called in this run."""
        return self.folder.renamer.name(name)

    def given(self, document: Any) -> Any:
        """A document of a recording, with the names of this run and the lab's uids."""
        return self.bindings.document(self.folder.renamer.document(document))

    async def replay(
        self,
        name: str,
        *,
        body: bytes | None = None,
        token: str | None = None,
        only_names: bool = False,
    ) -> Verdict:
        """Sends one case's request, or `body` where the recording only describes it.

        `only_names` says that the recording has reduced the items of a list to their names.
        """
        case = self.folder.cases[name]
        status, headers, answer = await self.send(case, body=body, token=token)
        if only_names:
            answer["items"] = [
                {"metadata": {"name": item["metadata"]["name"]}} for item in answer["items"]
            ]
        differences = self.compare_answer(case, headers, answer)
        verdict = judge(status, answer, case.status, differences)
        self.folder.record(name, verdict)
        return verdict

    async def replay_while_declined(self, names: Iterable[str]) -> None:
        """Cases of which the later ones depend on the first: declined all, if that is."""
        first, *others = names
        verdict = await self.replay(first)
        for name in others:
            if verdict.result == DECLINED:
                self.folder.decline(name, f"after {first}: {verdict.details[0]}")
            else:
                self.settle(name)
                await self.replay(name)

    def find(self, shown: Any) -> tuple[str, Any] | None:
        """The plural and the stored object of the same name as one in an answer."""
        meta = shown.get("metadata") or {}
        place = meta.get("namespace", ""), meta.get("name", "")
        for resource in RESOURCES:
            if resource.kind == shown.get("kind") and resource.stored:
                for obj in self.store.list(resource.plural, place[0] or None):
                    if obj["metadata"]["name"] == place[1]:
                        return resource.plural, obj
        return None

    def settle(self, name: str) -> None:
        """Writes what controllers and kubelet had written before this case was recorded.

        The status that its answer shows (and on which node a pod is) can't come from the request:
        somebody wrote it in the meantime. Who does so in the lab is proven by other folders.
        """
        case = self.folder.cases[name]
        answer = case.answer
        if not isinstance(answer, dict) or (case.path.endswith("/status") and case.method != "GET"):
            return
        if case.method == "DELETE" and answer.get("kind") == "Namespace":
            # Here the status is what the request itself changes.
            return
        kind = str(answer.get("kind", "")).removesuffix("List")
        if kind == "Scale":
            scaled = self.given(answer)
            place = ("deployments", scaled["metadata"]["namespace"], scaled["metadata"]["name"])
            status = {"status": {"replicas": scaled["status"]["replicas"]}}
            self.store.patch(*place, status, subresource="status")
            return
        for item in answer.get("items", [answer]):
            settle_object(self, self.given({"kind": kind, **item}))

    async def send(
        self, case: Case, *, body: bytes | None = None, token: str | None = None
    ) -> tuple[int, Any, Any]:
        """Status, headers and body of the lab's answer to a recorded request.

        By default as the cluster's admin; with the token "" it goes out with the Authorization that
        was recorded, or none.
        """
        headers = dict(case.headers)
        token = self.admin if token is None else token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is None and case.body is not None:
            body = self.encode(case.body)
            if case.headers.get("Content-Type") == "application/yaml":
                body = yaml.safe_dump(self.given(yaml.safe_load(case.body))).encode()
        query = [(key, self._resolve(key, value)) for key, value in case.query]
        async with self.session.request(
            case.method,
            self.url + self.folder.renamer.text(case.path),
            params=query,
            headers=headers,
            data=None if body is None else io.BytesIO(body),
            ssl=self.tls,
            skip_auto_headers=("Content-Type", "Accept"),
        ) as answer:
            return answer.status, answer.headers, parse_answer(await answer.read())

    def encode(self, body: Any) -> bytes:
        """A recorded request's body, renamed, as bytes."""
        if not isinstance(body, str):
            return json.dumps(self.given(body)).encode()
        try:
            parsed = json.loads(body)
        except ValueError:
            return self.folder.renamer.sent_text(body).encode()
        if json.dumps(parsed, separators=(",", ":")) != body.replace('": ', '":').replace(
            ", ", ","
        ):
            # Of a form that would not survive: duplicate members, for one.
            return self.folder.renamer.sent_text(body).encode()
        return json.dumps(self.given(parsed)).encode()

    def compare_answer(self, case: Case, headers: Any, answer: Any) -> list[str]:
        """What differs from the recorded answer."""
        recorded = case.answer
        if isinstance(recorded, str) and recorded.startswith("apiVersion: "):
            recorded, answer = yaml.safe_load(recorded), yaml.safe_load(str(answer))
        differences = compare(
            arrange_items(case.answer, self.folder.renamer.document(recorded)),
            answer,
            self.bindings,
        )
        for header in COMPARED_HEADERS:
            wanted = [self.folder.renamer.text(each) for each in case.answer_headers(header)]
            found = headers.getall(header, [])
            if wanted != found:
                differences.append(f"header {header}: {found} instead of {wanted}")
        return differences

    def _resolve(self, key: str, value: str) -> str:
        if key in {"resourceVersion", "continue"}:
            return self.bindings.resolve(key, value)
        return self.folder.renamer.text(value)


def settle_object(lab: Lab, shown: Any) -> None:
    """Brings a stored object's status (and what goes with it) to that of a recorded answer."""
    meta = shown.get("metadata") or {}
    found = lab.find(shown)
    if found is None or not isinstance(shown.get("status"), dict):
        return
    plural, obj = found
    place = (plural, obj["metadata"].get("namespace"), obj["metadata"]["name"])
    node = shown.get("spec", {}).get("nodeName")
    if node and not obj["spec"].get("nodeName"):
        lab.store.patch(*place, {"spec": {"nodeName": node}}, subresource="binding")
    patch: dict[str, Any] = {}
    if shown["status"] != obj.get("status"):
        patch["status"] = shown["status"]
    for key, value in (meta.get("annotations") or {}).items():
        if key.startswith("deployment.kubernetes.io/"):
            patch["metadata"] = {"annotations": {key: value}}
    if patch:
        current = lab.store.get(*place)
        lab.store.update(
            *place,
            {**current, **{k: v for k, v in patch.items() if k != "metadata"}},
            subresource="status",
        )
        if "metadata" in patch:
            lab.store.patch(*place, {"metadata": patch["metadata"]}, subresource="status")


def parse_answer(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def arrange_items(recorded: Any, renamed: Any) -> Any:
    """Lists come in the order of names: with new names, in the new order."""
    key = "rows" if isinstance(recorded, dict) and recorded.get("kind") == "Table" else "items"
    if not isinstance(recorded, dict) or not isinstance(recorded.get(key), list):
        return renamed
    places = [_place(item) for item in recorded[key]]
    if places != sorted(places):
        return renamed
    return {**renamed, key: sorted(renamed[key], key=_place)}


def _place(item: Any) -> tuple[str, str]:
    meta = (item.get("object") or item).get("metadata") or {}
    return meta.get("namespace", ""), meta.get("name", "")
