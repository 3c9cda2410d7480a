"""Keeps a tunnel up: one SSH connection after the other, to one shadow after the other.

watch ─► broken ─► wait (backoff) ─► revive the shadow ─► dial ─► attach ─┐
  ▲                  ▲                     └───────────────┴─ failed ─► (wait)
  └──────────────────┼──────────────────────────────────────────────────┘
                     └ what can't come back ends the session
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ktnet.cluster.shadow.session import RunningPod, ShadowSession
from ktnet.errors import (
    ClusterUnreachable,
    Forbidden,
    HostKeyMismatch,
    KtnetError,
    NotFound,
    TunnelError,
)
from ktnet.link.backoff import Backoff
from ktnet.link.connection import Link, open_link
from ktnet.link.keys import ClientKey
from ktnet.link.lasting import LastingDialer
from ktnet.link.sleep import run_sleep_watch
from ktnet.session.report import Report
from ktnet.session.state import TunnelState
from ktnet.tasks import open_tasks

log = logging.getLogger(__name__)

REDIAL_TIMEOUT_S = 10.0
"""For one attempt to dial and log in; the next one may find another way."""

ECHO_TIMEOUT_S = 2.0
"""When there is reason to doubt a connection: one that takes longer is better dialled anew."""

FINAL = (Forbidden, HostKeyMismatch, NotFound)
"""What no further attempt changes: a right that was taken away, somebody in between (the key was
read anew before), a namespace that is gone."""

ServeLink = Callable[[Link], Awaitable[None]]


async def nothing_to_check() -> None:
    """What there is to ask before a shadow is sought again, where there is nothing."""


async def nothing_to_prepare(_: RunningPod) -> None:
    """What there is to do before a pod is dialled, where there is nothing."""


@dataclass
class _Current:
    """The connection in use, and what becomes of it."""

    pod_uid: str
    broken: asyncio.Future[str]
    by_pod: bool = False
    """It is left for its pod's end, and did not break itself."""

    def end(self, reason: str, *, by_pod: bool = False) -> None:
        if not self.broken.done():
            self.by_pod = by_pod
            self.broken.set_result(reason)


class Keeper:
    """The connections of one tunnel. Its tasks run in `links`, and `streams` outlives them."""

    def __init__(
        self,
        shadow: ShadowSession,
        key: ClientKey,
        report: Report,
        streams: asyncio.TaskGroup,
        links: asyncio.TaskGroup,
    ) -> None:
        self.dialer = LastingDialer()
        self.state = TunnelState()
        self.before_dial: Callable[[RunningPod], Awaitable[None]] = nothing_to_prepare
        """Called before a pod is dialled again, which may not be the one before."""
        self.before_revival: Callable[[], Awaitable[None]] = nothing_to_check
        """Called before the shadow is looked for again: what it raises ends the session, unless
        the cluster just can't be asked."""
        self.on_return: list[Callable[[], None]] = []
        """Called each time when the tunnel is back: what was learnt may be wrong by now."""
        self._shadow = shadow
        self._key = key
        self._report = report
        self._streams = streams
        self._links = links
        self._backoff = Backoff()
        self._loop = asyncio.get_running_loop()
        self._current: _Current | None = None
        self._link: Link | None = None
        self._newest: asyncio.Future[Link] = self._loop.create_future()

    @property
    def link(self) -> Link:
        """The newest connection, which may be broken; there is one once `connect` has returned."""
        assert self._link is not None  # noqa: S101  (narrows the type)
        return self._link

    async def connect(self) -> None:
        """Dial the shadow and use the connection. Raises TunnelError and its kin."""
        try:
            await self._attach()
        except HostKeyMismatch:
            # Its container may have started anew, with a new key, since the log was read: look
            # once more. Whoever reads along can't change the log, so a second mismatch is final.
            await self._shadow.read_host_key()
            await self._attach()

    async def run(self) -> None:
        """Have the tunnel come back whenever it breaks, until cancelled.

        Raises what can't come back.
        """
        watching = self._shadow.run_watch(self._pod_ended)
        self._links.create_task(watching, name="watch the shadow's pods")
        self._links.create_task(run_sleep_watch(self._woke_up), name="watch for sleep")
        while True:
            assert self._current is not None  # noqa: S101  (it is connected first)
            reason = await self._current.broken
            self.dialer.detach()
            self._backoff.broke(self._loop.time())
            self.state.broke(reason)
            self._report.begin()
            self._report.note(f"{reason}; reconnecting")
            if not self._current.by_pod:
                # What broke this connection may have broken those to the API server too.
                await self._shadow.renew_connections()
            await self._come_back()
            for call in self.on_return:
                call()
            self._report.step("tunnel", f"is back, by {self._shadow.pod.name}")

    async def _come_back(self) -> None:
        while True:
            await asyncio.sleep(self._backoff.next_delay_s(random.random()))  # noqa: S311
            if not await self._is_wanted():
                continue
            try:
                await self._shadow.revive(log.info)
                await self.before_dial(self._shadow.pod)
                await self.connect()
            except FINAL:
                raise
            except KtnetError as error:
                self._note_failure(error)
            else:
                return

    async def _is_wanted(self) -> bool:
        """Whether it is worth another attempt; False: it isn't known."""
        try:
            await self.before_revival()
        except ClusterUnreachable as error:
            self._note_failure(error)
            return False
        return True

    def _note_failure(self, error: KtnetError) -> None:
        if str(error) != self.state.reason:
            log.info("no tunnel yet: %s", error)
        self.state.reason = str(error)

    async def _attach(self) -> None:
        opened: asyncio.Future[Link] = self._loop.create_future()
        current = _Current(self._shadow.pod.uid, self._loop.create_future())
        self._links.create_task(self._run_link(opened, current), name="SSH connection")
        link = await opened
        self._current = current
        self._backoff.connected(self._loop.time())
        self.dialer.attach(link)
        self._link = link
        self.state.connected()
        newest, self._newest = self._newest, self._loop.create_future()
        newest.set_result(link)

    async def _run_link(self, opened: asyncio.Future[Link], current: _Current) -> None:
        """One connection, from its dialling to its end."""
        try:
            async with open_link(
                self._shadow.connector(self._streams),
                client_key=self._key,
                host_key=self._shadow.host_key,
                timeout_s=REDIAL_TIMEOUT_S,
            ) as link:
                if opened.cancelled():
                    return
                opened.set_result(link)
                # A pod that goes takes no new flows, but has a few seconds for those it has:
                # this connection is kept until its end, also when there is another one.
                loss = await link.wait_closed()
                current.end(loss.message)
        except KtnetError as error:
            if not opened.done():
                opened.set_exception(error)
            current.end(error.message)

    def _pod_ended(self, uid: str, reason: str) -> None:
        if self._current is not None and self._current.pod_uid == uid:
            self._current.end(reason, by_pod=True)

    async def check(self, ordeal: str) -> None:
        """Ask whether the connection has outlived it ("17 s of sleep"), and dial anew if not.

        At once: its own questions would take 12 s.
        """
        link = self._link
        if link is None or link.closed is not None:
            return
        try:
            await link.round_trip(ECHO_TIMEOUT_S)
        except TunnelError:
            link.give_up(f"the tunnel has not outlived {ordeal}")

    async def _woke_up(self, slept_s: float) -> None:
        await self.check(f"{slept_s:.0f} s of sleep")

    async def serve_each_link(self, serve: ServeLink) -> None:
        """Run `serve` beside every connection, from its login to its end."""
        async with open_tasks() as serving:
            link = self.dialer.link
            while True:
                if isinstance(link, Link) and link.closed is None:
                    serving.create_task(_serve_until_closed(link, serve))
                link = await asyncio.shield(self._newest)


async def _serve_until_closed(link: Link, serve: ServeLink) -> None:
    async with open_tasks() as tasks:
        tasks.create_task(_serve_on(link, serve))
        await link.wait_closed()


async def _serve_on(link: Link, serve: ServeLink) -> None:
    try:
        await serve(link)
    except TunnelError:
        # Most likely the connection's own end, which is about to be told.
        if link.closed is None:
            raise
