"""An API server on loopback, with a runtime whose pods are this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp

from ktnet.lab.api.authentication import MASTERS, User
from ktnet.lab.api.server import ApiServer, open_api_server
from ktnet.lab.api.store import Store
from ktnet.lab.api.tls import build_certificates

ADMIN = "admin-token"
LIMITED = "limited-token"
CERTIFICATES = build_certificates(["127.0.0.1", "kubernetes.default.svc"])
TOKENS = {
    ADMIN: User("developer", (MASTERS,), "1"),
    LIMITED: User("limited", (), "2"),
}


def build_store(*namespaces: str) -> Store:
    """A store with those namespaces, and a ServiceAccount `default` in each."""
    store = Store()
    for name in namespaces or ("demo",):
        store.create("namespaces", None, {"metadata": {"name": name}})
        store.create("serviceaccounts", name, {"metadata": {"name": "default"}})
    return store


def build_pod(name: str, **spec: object) -> dict:
    container = {"name": "main", "image": "lab/any:1"}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def run_pod(store: Store, name: str, namespace: str = "demo", **state: object) -> dict:
    """Creates a pod and says that it runs, as scheduler and kubelet would."""
    store.create("pods", namespace, build_pod(name))
    node = {"spec": {"nodeName": "lab-node"}}
    store.patch("pods", namespace, name, node, subresource="binding")
    container = {"name": "main", "state": state or {"running": {}}, "lastState": {}}
    status = {"phase": "Running", "containerStatuses": [container]}
    return store.patch("pods", namespace, name, {"status": status}, subresource="status")


async def until(condition) -> None:
    """Waits for what nobody announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


class Log:
    """A log that a test writes."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, bytes]] = []
        self.followers: list[asyncio.Queue] = []

    def add(self, time_ns: int, line: bytes) -> None:
        self.lines.append((time_ns, line))
        for queue in self.followers:
            queue.put_nowait((time_ns, line))

    def end(self) -> None:
        for queue in self.followers:
            queue.put_nowait(None)

    def follow(self) -> AsyncIterator[tuple[int, bytes]]:
        queue: asyncio.Queue = asyncio.Queue()
        self.followers.append(queue)

        async def read():
            while (line := await queue.get()) is not None:
                yield line

        return read()


class Process:
    """A process on this machine, as an exec in a pod."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.size: tuple[int, int] | None = None

    async def write(self, data: bytes) -> None:
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def read_stdout(self) -> bytes:
        return await self._process.stdout.read(32768)

    async def read_stderr(self) -> bytes:
        return await self._process.stderr.read(32768)

    def resize(self, width: int, height: int) -> None:
        self.size = (width, height)

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code


class Runtime:
    """All pods share this process's loopback; names in `absent` have no sandbox."""

    def __init__(self) -> None:
        self.absent: set[str] = set()
        self.logs: dict[tuple[str, bool], Log] = {}
        self.processes: list[Process] = []

    async def connect(self, namespace: str, pod: str, port: int) -> socket.socket:
        if pod in self.absent:
            raise LookupError(pod)
        connection = socket.socket()
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return connection

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Log:
        return self.logs[pod, previous]

    async def exec(self, namespace, pod, container, command, *, stdin, tty) -> Process:
        pipe = asyncio.subprocess.PIPE
        process = Process(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
            )
        )
        self.processes.append(process)
        return process


class Lab:
    """A running API server and a client of it."""

    def __init__(self, store: Store, runtime: Runtime, server: ApiServer) -> None:
        self.store, self.runtime, self.server = store, runtime, server
        self.session: aiohttp.ClientSession
        self.tls = ssl.create_default_context(cadata=CERTIFICATES.ca_pem)

    async def ask(self, method: str, path: str, body=None, *, token=ADMIN, headers=None, raw=False):
        """(status, body); the body is parsed unless `raw`."""
        sent = {"Accept": "application/json", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = {"json": body} if isinstance(body, (dict, list)) else {"data": body}
        if body is None:
            data = {}
        async with self.session.request(
            method, self.server.url + path, headers=sent, ssl=self.tls, **data
        ) as answer:
            self.headers = answer.headers
            return answer.status, await (answer.read() if raw else answer.json(content_type=None))

    def socket(self, path: str, *protocols: str, token=ADMIN):
        return self.session.ws_connect(
            self.server.url + path,
            protocols=protocols or ("v4.channel.k8s.io",),
            headers={"Authorization": f"Bearer {token}"},
            ssl=self.tls,
            max_msg_size=0,
        )


@contextlib.asynccontextmanager
async def open_lab(store: Store | None = None, authorize=None) -> AsyncIterator[Lab]:
    store, runtime = store or build_store(), Runtime()
    async with open_api_server(
        store,
        runtime,
        address="127.0.0.1",
        port=0,
        certificates=CERTIFICATES,
        tokens=TOKENS,
        authorize=authorize,
    ) as server:
        lab = Lab(store, runtime, server)
        async with aiohttp.ClientSession() as lab.session:
            yield lab
