"""The SSH connection to the shadow: log in with a pinned host key, then open flows and ask names.

A `Link` is one connection and lives as long as it does; whoever wants to be connected again opens
another one.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncssh

from ktnet.errors import DnsError, RemoteProtocolError, TunnelError
from ktnet.link.carrier import Connector, Dialled
from ktnet.link.failures import build_login_error, build_loss
from ktnet.link.inbound import InboundListener, Target, open_inbound_listener
from ktnet.link.keys import ClientKey
from ktnet.link.membership import open_membership
from ktnet.link.names import Names
from ktnet.link.probe import Probe
from ktnet.stream.batch import call_soon
from ktnet.stream.carrier import Carrier
from ktnet.stream.ledger import Ledger
from ktnet.stream.negotiation import SSH_OPTIONS
from ktnet.stream.openings import ChannelOpening, DeadOpening
from ktnet.wire.channel import Surroundings, Traffic
from ktnet.wire.flow import Opening, Receiver
from ktnet.wire.meshmark import Registration
from ktnet.wire.release import parse_greeting
from ktnet.wire.shadow import PROBE_HOST, SSH_PORT, SSH_USER
from ktnet.wire.window import WindowBudget

log = logging.getLogger(__name__)

LOGIN_TIMEOUT_S = 15.0

KEEPALIVE_INTERVAL_S = 4.0
KEEPALIVE_MOST_UNANSWERED = 2
"""So a silent tunnel is asked after 4 and 8 s, and taken for dead after 12."""

ANSWER_TIMEOUT_S = 5.0
"""What resolvers on this machine wait for an answer (resolv.conf(5), `timeout`)."""


class Link:
    """One SSH connection to a shadow (a `ktnet.wire.flow.Dialer`)."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        carrier: Carrier,
        lost: asyncio.Future[TunnelError],
        group: asyncio.TaskGroup,
    ) -> None:
        self.traffic = Traffic()
        self._connection = connection
        self._lost = lost
        self._group = group
        self._windows = WindowBudget()
        self._names = Names(connection, group)
        self._carrier = carrier
        self._surroundings = Surroundings(
            carrier.congestion,
            self.traffic,
            call_soon,
            lambda error: log.error("a flow failed, and was reset", exc_info=error),
        )

    @property
    def path(self) -> str:
        """Whose code moves the flows' bytes: "own", or "asyncssh" where ours can't be used."""
        return self._carrier.path

    @property
    def closed(self) -> TunnelError | None:
        """Why the connection is no more; None while it is up."""
        return self._lost.result() if self._lost.done() else None

    @property
    def shadow_version(self) -> str:
        """The release that the shadow says it is of; empty where it says none."""
        return parse_greeting(str(self._connection.get_extra_info("server_version")))

    def give_up(self, reason: str) -> None:
        """End the connection at once: nobody is there any more to be told."""
        if not self._lost.done():
            self._lost.set_result(TunnelError(reason))
            self._connection.abort()

    async def wait_closed(self) -> TunnelError:
        """Wait for the connection's end, and say why."""
        return await asyncio.shield(self._lost)

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """Have the shadow connect to host:port; never raises (see `ktnet.wire.flow.Dialer`)."""
        if self._lost.done():
            return DeadOpening(receiver)
        opening = ChannelOpening(
            self._connection, self._carrier, self._windows, receiver, self._surroundings
        )
        if (control := self._carrier.control) is not None:
            opening.ask(control, (host, port), origin)
        else:
            self._group.create_task(
                opening.run(lambda channel, take: channel.connect(take, host, port, *origin))
            )
        return opening

    def listen(
        self, port: int, target: Target, ledger: Ledger | None = None
    ) -> AbstractAsyncContextManager[InboundListener]:
        """Have the shadow listen on this port of its pod, and connect what comes to `target`.

        `target` is (host, port), as seen from here; what comes stands in `ledger`. TunnelError
        where the shadow won't listen, or the connection is down.
        """
        return open_inbound_listener(
            self._connection,
            self._carrier,
            self._windows,
            self._surroundings,
            port,
            target,
            ledger if ledger is not None else Ledger(),
        )

    def register(self, registration: Registration) -> AbstractAsyncContextManager[None]:
        """Have a router send the mark's requests to what listens on this connection.

        Until the context is left: in an orderly way, the requests under way are answered first.
        TunnelError where the router doesn't answer, Conflict where somebody else has the mark.
        """
        return open_membership(self._connection, registration)

    async def prove(self, listener: InboundListener, address: str, timeout_s: float) -> None:
        """Have the shadow connect to the listener by the pod's own address, and see it come here.

        The application behind it doesn't notice. TunnelError where it doesn't come in time.
        """
        probe = Probe()
        with listener.expect_probe(address):
            opening = self.open_tcp(address, listener.port, ("127.0.0.1", 0), probe)
            try:
                async with asyncio.timeout(timeout_s):
                    await probe.measure()
            except TimeoutError as error:
                raise TunnelError(
                    f"what connects to {address}:{listener.port} in the cluster does not get here"
                ) from error
            finally:
                opening.cancel()
                probe.close()

    async def ask(self, query: bytes, timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """Have the pod's resolver answer one DNS message; the answer is complete, never truncated.

        DnsError where `query` is none or no answer comes in time; TunnelError where the
        connection is down or breaks meanwhile.
        """
        if self._lost.done():
            raise TunnelError("the tunnel is down") from self._lost.result()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._names.ask(query)
        except TimeoutError as error:
            raise DnsError(f"no answer through the tunnel within {timeout_s:g} s") from error

    async def round_trip(self, timeout_s: float = ANSWER_TIMEOUT_S) -> float:
        """Seconds that a byte takes to the shadow and back, on a channel of its own.

        TunnelError where it does not come back in time.
        """
        probe = Probe()
        opening = self.open_tcp(PROBE_HOST, 1, ("127.0.0.1", 0), probe)
        try:
            async with asyncio.timeout(timeout_s):
                return await probe.measure()
        except TimeoutError as error:
            raise TunnelError(f"no echo from the shadow within {timeout_s:g} s") from error
        finally:
            opening.cancel()
            probe.close()


class _Client(asyncssh.SSHClient):
    """asyncssh's callbacks for the connection as a whole."""

    def __init__(self, lost: asyncio.Future[TunnelError]) -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            loss = build_loss(exc)
            loss.__cause__ = exc  # its traceback says where, should it be a mistake of ours
            self._lost.set_result(loss)


@asynccontextmanager
async def open_link(
    connect: Connector,
    *,
    client_key: ClientKey,
    host_key: str,
    timeout_s: float = LOGIN_TIMEOUT_S,
) -> AsyncIterator[Link]:
    """Connect and log in; on leaving, every flow is reset and the connection closed.

    `host_key` is "ssh-ed25519 BASE64", and no other is accepted. TunnelError where that fails,
    of these HostKeyMismatch where the shadow shows another key and RemoteProtocolError where what
    answers is no SSH server of ours. A connection that is lost later is not raised here: `Link`
    tells of it.
    """
    dialled = Dialled(connect)
    lost: asyncio.Future[TunnelError] = asyncio.get_running_loop().create_future()
    try:
        pinned = asyncssh.import_public_key(host_key)
    except asyncssh.KeyImportError as error:
        raise RemoteProtocolError(f"the shadow's host key is malformed: {error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            connection = await _log_in(dialled, lost, client_key, pinned)
    except Exception as error:
        raise build_login_error(error) from error
    assert dialled.carrier is not None  # noqa: S101  (it has logged in through one)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        try:
            yield Link(connection, dialled.carrier, lost, group)
        except Exception as error:
            failure = error
        finally:
            if not lost.done():
                lost.set_result(TunnelError("the tunnel was closed"))
            connection.close()
            await connection.wait_closed()
    if failure is not None:
        raise failure


async def _log_in(
    dialled: Dialled,
    lost: asyncio.Future[TunnelError],
    client_key: ClientKey,
    host_key: asyncssh.SSHKey,
) -> asyncssh.SSHClientConnection:
    _have_local_user_name()
    return await asyncssh.connect(
        "shadow",  # a name for messages; the dialler knows where to go
        SSH_PORT,
        tunnel=dialled,
        client_factory=lambda: _Client(lost),
        **SSH_OPTIONS,
        # Nothing of the user's own: no agent, keys or known hosts either.
        known_hosts=([host_key], [], []),
        server_host_key_algs=["ssh-ed25519"],
        username=SSH_USER,
        client_keys=[client_key],
        agent_path=None,
        preferred_auth="publickey",
        keepalive_interval=KEEPALIVE_INTERVAL_S,
        keepalive_count_max=KEEPALIVE_MOST_UNANSWERED,
        login_timeout=0,  # the caller's covers the dialling as well
    )


def _have_local_user_name() -> None:
    """asyncssh insists on one, and a container may run under a uid that has none."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = SSH_USER
