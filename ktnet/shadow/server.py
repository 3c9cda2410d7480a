"""The SSH server: who may attach, and what may be opened. One `ShadowServer` a connection.

Standard SSH on the wire (RFC 4252, RFC 4254): one user, one Ed25519 key; `direct-tcpip` channels
to whatever the pod reaches; the DNS subsystem. Not a shell, a file or a listening port.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from ktnet.shadow.carrier import CARRIER, Admission, Listener
from ktnet.shadow.inbound import Exposable, Inbound
from ktnet.shadow.laptop import Laptop
from ktnet.shadow.lifetime import Attendance
from ktnet.shadow.log import EventLog
from ktnet.shadow.names import NameSession
from ktnet.shadow.resolver import Resolver
from ktnet.stream.batch import call_soon
from ktnet.stream.carrier import Carrier
from ktnet.stream.control import ChannelRequest
from ktnet.stream.negotiation import SSH_OPTIONS
from ktnet.stream.polledflow import PolledFlow
from ktnet.stream.speed import build_speed_end
from ktnet.stream.target import CONNECT_TIMEOUT_S, Dialling, EchoReceiver, TargetFailed, relay
from ktnet.wire.channel import ChannelFlow, Surroundings, Traffic
from ktnet.wire.flow import OpenFailure, Receiver
from ktnet.wire.release import SSH_VERSION
from ktnet.wire.shadow import PROBE_HOST, SPEED_HOST, SSH_USER
from ktnet.wire.window import PACKET_BYTES, WindowBudget

LOGIN_TIMEOUT_S = 15.0

KEEPALIVE_INTERVAL_S = 15.0
KEEPALIVE_MOST_UNANSWERED = 3
"""A client that vanished without a word is taken for gone after a minute of silence."""

_FlowChannel = asyncssh.SSHTCPChannel[bytes]
Told = Callable[[Receiver | TargetFailed], object]
"""Hears what a channel's flow is to be received by, or why by nobody."""


@dataclass
class Shadow:
    """What all connections to this shadow share."""

    authorized_key: asyncssh.SSHKey | None
    """Who may attach; None: whoever gets as far as the port."""
    resolver: Resolver
    log: EventLog
    group: asyncio.TaskGroup
    attendance: Attendance = field(default_factory=Attendance)
    admission: Admission = field(default_factory=Admission)
    windows: WindowBudget = field(default_factory=WindowBudget)
    connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    flows: set[ChannelFlow] = field(default_factory=set)
    flow_ended: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    exposables: tuple[Exposable, ...] = ()
    expose_bind: str = "127.0.0.1"
    health_port: int = 0
    inbound: Inbound = field(init=False)

    def __post_init__(self) -> None:
        self.inbound = Inbound(
            self.exposables, self.expose_bind, self.health_port, self.group, self.log
        )

    async def drain(self, timeout_s: float) -> None:
        """Open no more flows, give those that are open some time to end, then disconnect."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.flows:
                    self.flow_ended.clear()
                    await self.flow_ended.wait()
        for connection in list(self.connections):
            connection.close()
            await connection.wait_closed()


class ShadowServer(asyncssh.SSHServer):
    """asyncssh's callbacks for one connection."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow
        self._log = shadow.log
        self._attached = False
        self._connecting: dict[Dialling, Told] = {}
        self._is_gone = False
        self._traffic = Traffic()

    # -- attach ----------------------------------------------------------------------------

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A TCP connection; the key exchange begins."""
        self._conn = conn
        self._peer = conn.get_extra_info("peername", ("?", 0))
        self._carrier: Carrier = conn.get_extra_info(CARRIER)
        self._surroundings = Surroundings(
            congestion=self._carrier.congestion,
            traffic=self._traffic,
            call_soon=call_soon,
            report=lambda error: self._log.event("a flow failed", reason=repr(error)),
        )
        self._shadow.admission.unauthenticated += 1
        self._shadow.connections.add(conn)

    def begin_auth(self, username: str) -> bool:
        """Everybody has to authenticate."""
        return True

    def public_key_auth_supported(self) -> bool:
        """The only way to."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this is the one who may."""
        if self._shadow.attendance.is_closed:
            self._log.event("too late", peer=self._peer[0])
            return False
        if username == SSH_USER and self._shadow.authorized_key in (None, key):
            return True
        self._log.event("key refused", user=username, key=key.get_fingerprint(), peer=self._peer[0])
        return False

    def auth_completed(self) -> None:
        """The client has shown the key."""
        if self._shadow.attendance.is_closed:
            # Since it began to log in. What it comes for is being given back.
            self._conn.abort()
            return
        self._attached = True
        self._shadow.admission.unauthenticated -= 1
        self._shadow.attendance.arrive()
        self._laptop = Laptop(
            self._conn,
            self._carrier,
            self._shadow.windows,
            self._surroundings,
            self._shadow.group,
        )
        self._carrier.serve(self._channel_requested)
        self._shadow.inbound.client_arrived()
        self._log.event("client attached", peer=self._peer[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for whatever reason."""
        self._is_gone = True
        for dialling, told in list(self._connecting.items()):
            dialling.cancel()
            told(TargetFailed(OpenFailure.SHORTAGE, "the client went away"))
        self._shadow.connections.discard(self._conn)
        if not self._attached:
            self._shadow.admission.unauthenticated -= 1
            self._log.event("connection without log-in ended", peer=self._peer[0], reason=exc)
            return
        self._shadow.attendance.leave()
        if not self._shadow.attendance.attached:
            self._shadow.inbound.clients_left()
        self._log.event(
            "client gone",
            reason=exc or "orderly",
            flows=self._traffic.flows_opened,
            failed=self._traffic.flows_failed,
            sent=self._traffic.bytes_sent,
            received=self._traffic.bytes_received,
        )

    # -- DNS -------------------------------------------------------------------------------

    def session_requested(
        self,
    ) -> tuple[asyncssh.SSHServerChannel[bytes], asyncssh.SSHServerSession[bytes]]:
        """A session channel: for the DNS subsystem."""
        channel = self._conn.create_server_channel(encoding=None)
        return channel, NameSession(self._shadow.resolver, self._shadow.group, self._log)

    # -- ports that the client exposes -------------------------------------------------------

    def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener | bool:
        """Remote forwarding (RFC 4254 section 7.1), of the ports that the shadow was made for."""
        try:
            return self._shadow.inbound.claim(self._laptop, listen_host, listen_port)
        except OSError as error:
            self._log.event("not exposed", port=listen_port, reason=error)
            return False

    # -- flows -----------------------------------------------------------------------------

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[_FlowChannel, Coroutine[Any, Any, Any]]:
        """A flow where asyncssh does everything: connect first, confirm then."""
        window_bytes = self._shadow.windows.take()
        channel = self._conn.create_tcp_channel(None, "strict", window_bytes, PACKET_BYTES)
        opening = self._open_for_asyncssh(
            channel, window_bytes, (dest_host, dest_port), (orig_host, orig_port)
        )
        return channel, opening

    async def _open_for_asyncssh(
        self,
        channel: _FlowChannel,
        window_bytes: int,
        target: tuple[str, int],
        origin: tuple[str, int],
    ) -> Any:
        """Runs in a task of asyncssh's, which sends the confirmation or the failure."""
        answer: asyncio.Future[Receiver | TargetFailed]
        answer = asyncio.get_running_loop().create_future()

        self._open_receiver(target, origin, window_bytes, answer.set_result)
        result = await answer
        if isinstance(result, TargetFailed):
            raise asyncssh.ChannelOpenError(result.failure.value, result.reason) from result
        if self._is_gone:  # since it was answered
            result.closed(reset=True)
            self._shadow.windows.give_back(window_bytes)
            raise asyncssh.ChannelOpenError(OpenFailure.SHORTAGE.value, "the client went away")
        flow = self._build_flow(result, window_bytes)
        flow.watch(channel)
        return self._carrier.build_session(flow)

    def _channel_requested(self, request: ChannelRequest) -> None:
        """A flow where control is ours."""
        window_bytes = self._shadow.windows.take_first()

        def told(result: Receiver | TargetFailed) -> None:
            if isinstance(result, TargetFailed):
                request.refuse(result.failure.value, result.reason)
            else:
                flow = self._build_flow(result, window_bytes)
                request.accept(self._carrier.build_session(flow), window_bytes)

        self._open_receiver(request.target, request.origin, window_bytes, told)

    def _open_receiver(
        self, target: tuple[str, int], origin: tuple[str, int], window_bytes: int, told: Told
    ) -> None:
        """Connect to the target; where that fails, the window is given back.

        `told` is to have the channel confirmed without waiting: the client is still there then.
        """

        def note(result: Receiver | TargetFailed) -> None:
            if isinstance(result, TargetFailed):
                self._shadow.windows.give_back(window_bytes)
                if not self._is_gone:
                    self._note_failure(target, origin, result)
            told(result)

        self._begin_receiver(*target, note)

    def _begin_receiver(self, host: str, port: int, told: Told) -> None:
        if self._is_gone or self._conn.is_closed():
            told(TargetFailed(OpenFailure.SHORTAGE, "the client went away before this began"))
        elif self._shadow.draining:
            told(TargetFailed(OpenFailure.SHORTAGE, "the shadow is going down"))
        elif host == PROBE_HOST:
            told(EchoReceiver())
        elif host == SPEED_HOST and (end := build_speed_end(port)) is not None:
            told(end)
        else:
            self._dial(host, port, told)

    def _dial(self, host: str, port: int, told: Told) -> None:
        def dialled(result: PolledFlow | TargetFailed) -> None:
            del self._connecting[dialling]
            told(result if isinstance(result, TargetFailed) else relay(result))

        dialling = Dialling(host, port, CONNECT_TIMEOUT_S, dialled)
        self._connecting[dialling] = told

    def _note_failure(
        self, target: tuple[str, int], origin: tuple[str, int], failed: TargetFailed
    ) -> None:
        self._traffic.flows_failed += 1
        self._log.event(
            "target failed",
            host=target[0],
            port=target[1],
            origin=f"{origin[0]}:{origin[1]}",
            cause=failed.reason,
        )

    def _build_flow(self, receiver: Receiver, window_bytes: int) -> ChannelFlow:
        flow = ChannelFlow(
            receiver, self._surroundings, lambda: self._flow_gone(flow, window_bytes)
        )
        self._shadow.flows.add(flow)
        return flow

    def _flow_gone(self, flow: ChannelFlow, window_bytes: int) -> None:
        self._shadow.windows.give_back(window_bytes)
        self._shadow.flows.discard(flow)
        self._shadow.flow_ended.set()


@contextlib.asynccontextmanager
async def open_server(
    shadow: Shadow,
    host_key: asyncssh.SSHKey,
    address: str,
    port: int,
    build_server: Callable[[], ShadowServer] | None = None,
) -> AsyncIterator[asyncssh.SSHAcceptor]:
    """Listen on address:port (0: any free one). OSError where that is not possible."""
    acceptor = await asyncssh.listen(
        address,
        port,
        tunnel=Listener(shadow.admission),
        **SSH_OPTIONS,
        server_version=SSH_VERSION,
        server_factory=build_server or (lambda: ShadowServer(shadow)),
        server_host_keys=[host_key],
        login_timeout=LOGIN_TIMEOUT_S,
        keepalive_interval=KEEPALIVE_INTERVAL_S,
        keepalive_count_max=KEEPALIVE_MOST_UNANSWERED,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
    )
    try:
        yield acceptor
    finally:
        acceptor.close()
