"""A whole lab to replay to: its kubelet, its controllers and its network have their part in it.

It is one that `ktnet lab up` has made, reached from its laptop's network: as a client would, by
its kubeconfig, and by nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml
from comparing import GENERATED
from histories import compare_watches
from replaying import Folder, Lab, parse_answer
from verdicts import MATCHED, WRONG, Verdict

from ktnet.lab import harness
from ktnet.lab.node.syscalls import CLONE_NEWNET, setns
from ktnet.lab.topology import NODE_NAME

LIMIT_S = 60.0
"""For anything that the lab does by itself; a busy machine takes its time."""

_PYTHON = f"python:3.{sys.version_info.minor}-slim"
CALLED_HERE = (
    ("ktk8s-node", NODE_NAME),
    ("python:3.12-slim", _PYTHON),
    ("echo-server:test", _PYTHON),
)
"""The recorded node and images, and those of the lab that stand for them."""
WEB_SERVER, WEB_COMMAND = "echo-server:test", ["python", "-m", "http.server", "8080"]
"""What a recorded image did by itself: answered on that port, and didn't hear SIGTERM."""

OWNED_BY_SERVER = (
    *("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers"),
)


def can_run() -> bool:
    """Whether a lab can be made here."""
    return os.geteuid() == 0


class LaptopSockets:
    """Sockets in a laptop's network: a thread that has gone there makes them."""

    def __init__(self, pid: int) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=_go_to, initargs=(pid,))

    def make(self, address: Any = None) -> socket.socket:
        return self._thread.submit(socket.socket, socket.AF_INET, socket.SOCK_STREAM).result()

    def close(self) -> None:
        self._thread.shutdown()


def _go_to(pid: int) -> None:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        setns(descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


class LiveLab(Lab):
    """A lab that is up; a scene has namespaces of its own in it."""

    def __init__(
        self,
        folder: Folder,
        url: str,
        session: aiohttp.ClientSession,
        *,
        admin: str,
        authority: str,
        sockets: LaptopSockets,
    ) -> None:
        super().__init__(folder, None, url, session)
        self.admin = admin
        self.tls = ssl.create_default_context(cadata=authority)
        self._sockets = sockets

    async def open_stream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        connection = self._sockets.make()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (parts.hostname, parts.port))
        return await asyncio.open_connection(
            sock=connection, ssl=self.tls, server_hostname=parts.hostname
        )

    def called_here(self, document: Any) -> Any:
        """A document of a recording, with the names of this run and the lab's node and images."""
        return self.folder.renamer.document(call_here(document))

    async def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "json", **query: str
    ) -> Any:
        """A request of the scene's own, which must succeed; `path` has names of this run."""
        async with self.session.request(
            method,
            self.url + path,
            params=query,
            headers={
                "Authorization": f"Bearer {self.admin}",
                "Content-Type": f"application/{kind}",
            },
            data=None if body is None else json.dumps(body),
            ssl=self.tls,
        ) as answer:
            found = parse_answer(await answer.read())
            assert answer.status < 300, f"{method} {path}: {found}"
            return found

    async def find(self, path: str) -> Any | None:
        """What is there, or None."""
        headers = {"Authorization": f"Bearer {self.admin}"}
        async with self.session.get(self.url + path, headers=headers, ssl=self.tls) as answer:
            return None if answer.status == 404 else parse_answer(await answer.read())

    async def wait_for(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """The object there (None where there is none) as soon as that holds of it."""
        async with asyncio.timeout(LIMIT_S):
            while not holds(found := await self.find(path)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return found

    async def create(self, recorded: Any, *, owner: Any = None) -> Any:
        """Makes what a recording shows, as its author did; `owner` is the lab's own object."""
        shown = self.called_here(strip(recorded))
        for reference in shown["metadata"].get("ownerReferences") or []:
            reference["uid"] = owner["metadata"]["uid"]
        return await self.call("POST", place_of(shown), shown)


def call_here(document: Any) -> Any:
    text = json.dumps(_tell_web_servers(document))
    for recorded, here in CALLED_HERE:
        text = text.replace(recorded, here)
    return json.loads(text)


def _tell_web_servers(value: Any) -> Any:
    """With the command in the specs of containers of that image."""
    if isinstance(value, list):
        return [_tell_web_servers(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("image") == WEB_SERVER and "state" not in value:
        value = {**value, "command": WEB_COMMAND}
    return {key: _tell_web_servers(each) for key, each in value.items()}


PLURALS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "Service": "/api/v1/namespaces/{}/services",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
}


def place_of(obj: Any) -> str:
    """The path of all objects of its kind in its namespace."""
    return PLURALS[obj["kind"]].format(obj["metadata"]["namespace"])


def strip(recorded: Any) -> Any:
    """An object as it was sent, from what became of it."""
    meta = {k: v for k, v in recorded["metadata"].items() if k not in OWNED_BY_SERVER}
    obj = {k: v for k, v in recorded.items() if k != "status"} | {"metadata": meta}
    spec = dict(obj.get("spec") or {})
    for given in ("nodeName", "clusterIP", "clusterIPs", "tolerations", "manualSelector"):
        spec.pop(given, None)
    if obj["kind"] == "Job":
        spec.pop("selector", None)
        # Labels that it wasn't given come from the template.
        labels = {"app": meta.pop("labels")["app"]}
        spec["template"] = {**spec["template"], "metadata": {"labels": labels}}
    if obj["kind"] == "Pod":
        volumes = [v for v in spec.pop("volumes", []) if not GENERATED.fullmatch(v["name"])]
        spec["volumes"] = volumes
        spec["containers"] = [_strip_container(each) for each in spec["containers"]]
    return {**obj, **({"spec": spec} if "spec" in obj else {})}


def _strip_container(container: Any) -> Any:
    mounts = container.get("volumeMounts") or []
    own = [each for each in mounts if not GENERATED.fullmatch(each["name"])]
    return {**container, "volumeMounts": own}


@asynccontextmanager
async def open_live(folder: Folder, running: harness.Lab) -> AsyncIterator[LiveLab]:
    """A connection to that lab."""
    config = yaml.safe_load((running.directory / "kubeconfig").read_text())
    cluster = config["clusters"][0]["cluster"]
    pid = int((running.directory / "laptop-1.pid").read_text())
    sockets = LaptopSockets(pid)
    connector = aiohttp.TCPConnector(socket_factory=sockets.make, limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield LiveLab(
                folder,
                cluster["server"],
                session,
                admin=config["users"][0]["user"]["token"],
                authority=base64.b64decode(cluster["certificate-authority-data"]).decode(),
                sockets=sockets,
            )
    finally:
        sockets.close()


@asynccontextmanager
async def open_namespace(lab: LiveLab, recorded: str, **labels: str) -> AsyncIterator[str]:
    """A namespace of a recording, gone afterwards; its name in this run."""
    name = lab.name(recorded)
    meta = {"name": name, "labels": labels}
    await lab.call("POST", "/api/v1/namespaces", {"metadata": meta})
    try:
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        await lab.wait_for(account, lambda found: found is not None)
        yield name
    finally:
        await lab.call("DELETE", f"/api/v1/namespaces/{name}")
        await lab.wait_for(f"/api/v1/namespaces/{name}", lambda found: found is None)


class Watching:
    """A watch that goes on beside what a scene does."""

    def __init__(self, lab: LiveLab, path: str, query: list[tuple[str, str]]) -> None:
        self._lab, self._path, self._query = lab, path, query
        self.events: list[Any] = []
        self.began = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with self._lab.session.get(
            self._lab.url + self._path,
            params=self._query,
            headers={"Authorization": f"Bearer {self._lab.admin}"},
            ssl=self._lab.tls,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            assert answer.status == 200, await answer.text()
            self.began.set()
            async for line in answer.content:
                event = json.loads(line)
                event["t"] = asyncio.get_running_loop().time()
                self.events.append(event)
                self._changed.set()

    async def wait_for(self, holds: Callable[[list[Any]], bool]) -> None:
        """Until that holds of the events so far."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while not (self.events and holds(self.events)):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            last = [json.dumps(each)[:1500] for each in self.events[-3:]]
            raise AssertionError(f"{self._path}: it never came; last {last}") from None


@asynccontextmanager
async def open_watches(
    lab: LiveLab, recorded: dict[str, dict[str, Any]]
) -> AsyncIterator[dict[str, Watching]]:
    """Watches as they were recorded: name to {"path", "query"}."""
    rename = lab.folder.renamer
    found = {}
    for name, each in recorded.items():
        query = [(k, rename.selector(v)) for k, v in _pairs(each["query"])]
        found[name] = Watching(lab, rename.text(each["path"]), query)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run()) for each in found.values()]
        try:
            for each in found.values():
                await each.began.wait()
            yield found
        finally:
            for task in running:
                task.cancel()


def _pairs(query: Any) -> list[tuple[str, str]]:
    pairs = query.items() if isinstance(query, dict) else query
    return [(key, value) for key, value in pairs if not re.fullmatch("resourceVersion", key)]


def record_watches(
    lab: LiveLab, recorded: dict[str, list[Any]], watches: dict[str, Watching], *, case: str = ""
) -> None:
    """What became of the cases of these watches, or of the one `case` that has them all.

    Each recorded event {"type", "object", "t"}: seconds of any clock.
    """
    called = {
        watch: [{**each, "object": lab.called_here(each["object"])} for each in events]
        for watch, events in recorded.items()
    }
    found = {watch: watches[watch].events for watch in recorded}
    differences = compare_watches(called, found, lab.bindings)
    order = differences.pop("")
    if case:
        differences = {case: [line for lines in differences.values() for line in lines]}
    for name, lines in differences.items():
        wrong = (*lines, *order)
        lab.folder.record(name, Verdict(WRONG, wrong) if wrong else Verdict(MATCHED))
