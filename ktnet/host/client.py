"""What a session uses of this part: starts the helper, asks it, and has everything undone.

The client needs no rights of its own: the descriptors of the TUN and of the DNS sockets come from
the helper.
"""

from __future__ import annotations

import logging
import os
import socket
from asyncio import timeout, wait
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

from ktnet.errors import HostNetworkError, KtnetError, RemoteProtocolError
from ktnet.host.channel import UNDO_TIME_S, Channel, Patience, Started, Way, open_channel
from ktnet.host.facts import HostFacts
from ktnet.host.leftovers import find_leftovers
from ktnet.host.plan import HostPlan
from ktnet.host.replies import Done, Reply
from ktnet.host.requests import CaptureRequest, FactsRequest, OpenRequest, ReleaseRequest
from ktnet.host.resolver_plan import ResolverFact

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenLink:
    """The TUN (IFF_NO_PI, IFF_VNET_HDR, non-blocking) and the DNS sockets on its address, port 53.

    They belong to the Host: closed when its context is left.
    """

    tun_fd: int
    dns_udp: socket.socket
    dns_tcp: socket.socket

    def close(self) -> None:
        """Close all three."""
        os.close(self.tun_fd)
        self.dns_udp.close()
        self.dns_tcp.close()


class Host:
    """This machine, by way of the helper; see `open_host`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._link: OpenLink | None = None

    async def facts(self) -> HostFacts:
        """What is there, after mending what a session that died has left behind."""
        reply, _ = await self._channel.ask(FactsRequest())
        if not isinstance(reply, HostFacts):
            raise RemoteProtocolError("the helper gave no facts")
        return reply

    async def open_link(self, plan: HostPlan) -> OpenLink:
        """Make the TUN of the plan and the sockets on its address; nothing is captured yet.

        Raises HostPermissionError (no /dev/net/tun, no NET_ADMIN), HostNetworkError, DnsError
        (port 53 is taken), Conflict (another session is connected).
        """
        _, descriptors = await self._channel.ask(OpenRequest(plan.link), descriptors=3)
        tun, udp, tcp = descriptors
        self._link = OpenLink(tun, socket.socket(fileno=udp), socket.socket(fileno=tcp))
        return self._link

    async def capture(self, plan: HostPlan) -> None:
        """Have the plan's routes and resolver, and no others of ours; may be called again.

        Raises HostNetworkError, DnsError, Conflict; then neither routes nor resolver are changed.
        """
        reply, _ = await self._channel.ask(
            CaptureRequest(plan.routes, plan.resolver, plan.unreachable)
        )
        _log_notes(reply)

    async def release(self) -> None:
        """Give back routes and resolver; the TUN and its sockets stay until the context is left.

        So nothing points any more at the parts that answer there, before those go. Does nothing
        where nothing is captured. Raises HostNetworkError or DnsError where it can't be undone.
        """
        if self._link is None or self._channel.lost:
            return
        try:
            async with timeout(UNDO_TIME_S):
                reply, _ = await self._channel.ask(CaptureRequest((), None))
        except TimeoutError:
            # Its supervisor ends it then, and does what it didn't.
            self._channel.hang_up()
        else:
            _log_notes(reply)

    async def next_resolver(self) -> ResolverFact:
        """Wait until others have changed how this machine resolves names without us; how it is now.

        Whoever hears it plans anew and calls `capture`: ours may have been written over.
        """
        while True:
            reply = await self._channel.unasked.get()
            if isinstance(reply, ResolverFact):
                return reply

    async def run_watch(self) -> NoReturn:
        """Wait until the helper ends though it should not, and raise HostNetworkError."""
        await wait([self._channel.exited])
        raise HostNetworkError("the helper that holds this machine's network has ended")

    def close(self) -> None:
        """Close what came from the helper."""
        if self._link is not None:
            self._link.close()


@asynccontextmanager
async def open_host(way: Way = "sudo", *, started: Started | None = None) -> AsyncIterator[Host]:
    """Starts the helper; when the context is left, everything is undone and the helper has ended.

    So it is when this process is killed, within a second. An ordinary user's helper is started by
    sudo, which may ask for a password, or with `way` "none" with the user's own rights. `started`
    is a helper that runs already: this process may have given up the rights to start one.

    Raises HostPermissionError where this user can't start a helper; on leaving HostNetworkError or
    DnsError where something could not be undone (a failure of the body comes first, and that
    error is logged).
    """
    channel = Channel(started.socket) if started else await open_channel(way)
    host = Host(channel)
    try:
        yield host
    except BaseException:
        try:
            await _release(channel)
        except KtnetError as error:
            _log.warning("%s", error.message)
        raise
    else:
        await _release(channel)
    finally:
        host.close()
        if started is not None:
            started.process.poll()


async def mend_host(way: Way = "sudo", *, asks: bool = True) -> tuple[str, ...]:
    """Undo what sessions that died have left behind; returns what was done, one sentence each.

    Raises HostPermissionError where a helper can't be started, and what the helper raises.
    """
    channel = await open_channel(way, asks=asks)
    patience = Patience()
    try:
        reply = await channel.ask_at_last(FactsRequest(), patience)
    finally:
        await channel.close(patience)
    patience.end()
    if isinstance(reply, KtnetError):
        raise reply
    return reply.mended if isinstance(reply, HostFacts) else ()


async def _release(channel: Channel) -> None:
    """Have everything undone, the helper ended. A cancellation waits until that is so."""
    patience = Patience()
    reply: Reply | None = None
    try:
        reply = await channel.ask_at_last(ReleaseRequest(), patience)
    except KtnetError as error:
        _log.warning("%s", error.message)
    await channel.close(patience)
    if reply is None and find_leftovers():
        await _mend_the_rest()
    patience.end()
    if isinstance(reply, KtnetError):
        raise reply
    _log_notes(reply)


async def _mend_the_rest() -> None:
    """Both processes of the helper were killed: another one undoes what they have recorded."""
    try:
        notes = await mend_host(asks=False)
    except KtnetError as error:
        raise HostNetworkError(
            "the helper was killed, and this machine's network is not as it was",
            hint="mend it with: ktnet clean",
        ) from error
    for note in notes:
        _log.warning("%s", note)


def _log_notes(reply: Reply | None) -> None:
    if isinstance(reply, Done):
        for note in reply.notes:
            _log.warning("%s", note)
