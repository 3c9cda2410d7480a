"""Port-forward over a WebSocket: `v4.channel.k8s.io`.

Each port has a data and an error channel, 2i and 2i+1; the first message on each is the port
number, two bytes, little-endian (k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go). What
a pod's side does is only ever seen as data and as the WebSocket's end: there is no half-close. The
second that passes between the end of one direction and the end of all is containerd's.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
import struct
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ktnet.lab.api.errors import bad_request
from ktnet.lab.api.upgrade import CHUNK, WebSocket

SUBPROTOCOLS = ("v4.channel.k8s.io",)

Connect = Callable[[], Awaitable[socket.socket]]
"""Makes the connection within the pod; raises OSError, or LookupError where there is no pod."""

LINGER_S = 1.0
"""How long the other direction lives on when one has ended."""

IN_A_ROW = 16
"""Pieces that pass before the server has a turn for others: half a MiB."""


class BadPorts(Exception):
    """The `ports` parameter, refused by the kubelet: 400 with this text."""


def parse_ports(values: Sequence[str]) -> list[int]:
    """The ports of a request; raises ApiError 400 (API server) or BadPorts (kubelet)."""
    if not values:
        raise BadPorts('query parameter "port" is required')
    ports: list[int] = []
    for text in (part for value in values for part in value.split(",")):
        if not re.fullmatch("[0-9]+", text):
            why = "invalid syntax"
        elif int(text) > 65535:
            why = "value out of range"
        else:
            ports.append(int(text))
            continue
        raise bad_request(f'cannot convert to []int32: strconv.ParseUint: parsing "{text}": {why}')
    for port in ports:
        if port == 0:
            raise BadPorts('port "0" must be > 0')
    return ports


@dataclass(frozen=True)
class Sandbox:
    """The names that a pod's network has with its container runtime."""

    id: str
    network: str

    def beginning(self, port: int) -> str:
        return f"error forwarding port {port} to pod {self.id}, uid : "

    def prefix(self, port: int) -> str:
        return (
            f"{self.beginning(port)}failed to execute portforward in network namespace "
            f'"{self.network}": '
        )


def name_sandbox(pod_uid: str) -> Sandbox:
    """Names of the same shape as containerd's, made from the pod's uid."""
    network = uuid.uuid5(uuid.NAMESPACE_OID, pod_uid)
    return Sandbox(hashlib.sha256(pod_uid.encode()).hexdigest(), f"/var/run/netns/cni-{network}")


class Forward:
    """One port of a port-forward: a connection within the pod, and two channels."""

    def __init__(self, websocket: WebSocket, index: int, port: int, sandbox: Sandbox) -> None:
        self._websocket = websocket
        self._data, self._error = 2 * index, 2 * index + 1
        self._port = port
        self._sandbox = sandbox
        self._socket: socket.socket | None = None
        self._pending: deque[bytes | bytearray] = deque()
        self._wake = asyncio.Event()
        self._upload_error: OSError | None = None
        self._client_gone = False
        self._over = False

    async def announce(self) -> None:
        port = struct.pack("<H", self._port)
        await self._websocket.send(self._data, port)
        await self._websocket.send(self._error, port)

    def receive(self, data: bytes | bytearray) -> None:
        """Bytes from the client: into the pod at once where there is room."""
        if self._over or self._upload_error is not None or not data:
            return
        if self._socket is not None and not self._pending:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._upload_error = error
                self._wake.set()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._pending.append(data)
        self._websocket.hold(self)
        self._wake.set()

    def client_closed(self) -> None:
        self._client_gone = True
        self._wake.set()

    async def run(self, connect: Connect) -> None:
        """Until this port has ended; what went wrong is said on the error channel."""
        try:
            connection = await connect()
        except (OSError, LookupError) as error:
            self._finish()
            await self._say(describe_refusal(self._sandbox, self._port, error))
            return
        with connection:
            self._socket = connection
            pair = f"tcp4 {_format(connection.getsockname())}->127.0.0.1:{self._port}"
            cause = await self._transfer(connection, pair)
            self._finish()
        if cause:
            await self._say(f"{self._sandbox.prefix(self._port)}{cause}")

    def _finish(self) -> None:
        self._over = True
        self._socket = None
        self._pending.clear()
        self._websocket.release(self)

    async def _transfer(self, connection: socket.socket, pair: str) -> str:
        """Both directions; what went wrong with the first that broke, in Go's words."""
        async with asyncio.TaskGroup() as tasks:
            download = tasks.create_task(self._download(connection))
            upload = tasks.create_task(self._upload(connection))
            ways = (download, upload)
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(ways, timeout=LINGER_S)
            for way in ways:
                way.cancel()
        if not download.cancelled() and (error := download.result()):
            return f"writeto {pair}: read {pair}: read: {_say_errno(error)}"
        if not upload.cancelled() and (error := upload.result()):
            return f"readfrom {pair}: write {pair}: write: {_say_errno(error)}"
        return ""

    async def _download(self, connection: socket.socket) -> OSError | None:
        loop = asyncio.get_running_loop()
        passed = 0
        while not self._websocket.ended.is_set():
            try:
                data = await loop.sock_recv(connection, CHUNK)
            except OSError as error:
                return error
            if not data:
                break
            await self._websocket.send(self._data, data)
            passed += 1
            if passed % IN_A_ROW == 0:
                # Neither waits while a pod sends all the time and its client takes it.
                await asyncio.sleep(0)
        return None

    async def _upload(self, connection: socket.socket) -> OSError | None:
        """Sends what did not fit at once; ends with the client."""
        loop = asyncio.get_running_loop()
        while True:
            while self._pending and self._upload_error is None:
                try:
                    await loop.sock_sendall(connection, self._pending[0])
                except OSError as error:
                    self._upload_error = error
                else:
                    self._pending.popleft()
            self._websocket.release(self)
            if self._upload_error is not None or self._client_gone:
                return self._upload_error
            self._wake.clear()
            await self._wake.wait()

    async def _say(self, text: str) -> None:
        await self._websocket.send(self._error, text.encode())


class PortForward:
    """All ports of one WebSocket."""

    def __init__(self, websocket: WebSocket, ports: Sequence[int], sandbox: Sandbox) -> None:
        self._websocket = websocket
        self._forwards = [
            Forward(websocket, index, port, sandbox) for index, port in enumerate(ports)
        ]

    def channel_received(self, channel: int, data: bytes | bytearray, *, first: bool) -> None:
        # The error channels carry nothing upwards, and other channels do not exist.
        if channel % 2 == 0 and channel // 2 < len(self._forwards):
            self._forwards[channel // 2].receive(data)

    def client_closed(self) -> None:
        for forward in self._forwards:
            forward.client_closed()

    async def run(self, connects: Sequence[Connect]) -> None:
        """Until all ports have ended, or a second after the client has."""
        self._websocket.start(self)
        for forward in self._forwards:
            await forward.announce()
        async with asyncio.TaskGroup() as tasks:
            for forward, connect in zip(self._forwards, connects, strict=True):
                tasks.create_task(forward.run(connect))
        await self._websocket.close()


def describe_refusal(sandbox: Sandbox, port: int, error: Exception) -> str:
    if not isinstance(error, OSError):
        return f'{sandbox.beginning(port)}failed to find sandbox "{sandbox.id}" in store: not found'
    return (
        f"{sandbox.prefix(port)}failed to connect to localhost:{port} inside namespace "
        f'"{sandbox.id}", IPv4: dial tcp4 127.0.0.1:{port}: connect: {_say_errno(error)} '
        "IPv6 dial tcp6: address localhost: no suitable address found "
    )


def _say_errno(error: OSError) -> str:
    """As Go prints it: lower case."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _format(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
