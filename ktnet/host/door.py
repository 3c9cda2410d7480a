"""The door: every change of this machine is made here, one recorded step after the other.

A step is written into the journal, then made; `release` undoes them in reverse. A step's undo
takes it as it finds it (made, half made, changed by somebody else), so the same undo serves the
normal end, a failure half way, and what `mend` finds of a helper that was killed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from ktnet.errors import Conflict, KtnetError, LocalProtocolError, RemoteProtocolError
from ktnet.host.checker import check_link, check_routes
from ktnet.host.facts import HostFacts
from ktnet.host.journal import (
    Found,
    Journal,
    namespaces,
    open_directory,
    open_journals,
    remove_drafts,
)
from ktnet.host.leftovers import DIRECTORY
from ktnet.host.netlink import Netlink, is_ipv6_there
from ktnet.host.plan import HELD, LinkPlan
from ktnet.host.resolved import is_resolved_there, revert_resolved, tell_resolved
from ktnet.host.resolver import (
    BEHIND_STUB,
    RESOLV_CONF,
    is_in_place,
    mend_resolver,
    plan_resolver_step,
    restore_resolver,
    survey_resolver,
    take_resolver,
)
from ktnet.host.resolver_plan import AnyResolverPlan, ResolvedPlan, ResolverFact
from ktnet.host.steps import LinkStep, ResolvedStep, ResolverStep, RoutesStep, Step, UnreachableStep
from ktnet.host.tun import open_dns_sockets, open_tun
from ktnet.host.unreachable import check_unreachable


class Door:
    """The changes of one session. Not for two threads, and not to be used after `release`."""

    def __init__(
        self, netlink: Netlink, journals: Path = DIRECTORY, resolv_conf: Path = RESOLV_CONF
    ) -> None:
        self._netlink = netlink
        self._journals = journals
        self._resolv_conf = resolv_conf
        self._journal = Journal(journals)
        self._plan: LinkPlan | None = None
        self._index = 0
        self._steps: dict[type[Step], Step] = {}
        self._told: ResolverFact | None = None

    def facts(self) -> HostFacts:
        """What is there, after mending what sessions that died have left behind."""
        mended = self._mend()
        return replace(
            self._survey(self._survey_resolver(resolved=is_resolved_there())),
            mended=tuple(mended),
            held=self._is_held(),
        )

    def _survey(self, resolver: ResolverFact, *, unless: str = "") -> HostFacts:
        """The network now, but for the link of this name."""
        return HostFacts(
            links=tuple(link.name for link in self._netlink.links() if link.name != unless),
            addresses=tuple(a for a in self._netlink.addresses() if a.link != unless),
            routes=tuple(r for r in self._netlink.routes() if r.link != unless or not unless),
            resolver=resolver,
            subnets6=self._netlink.subnets6(),
            rules=self._netlink.rules(),
        )

    def changed_resolver(self) -> ResolverFact | None:
        """How names are resolved without us, where that is not what we said last.

        So it is when the machine has come to another network, or somebody has written over what
        is ours: then `capture` puts ours on top again. Raises DnsError.
        """
        if self._told is None:
            return None
        former = self._told
        found = self._survey_resolver(resolved=former.resolved)
        step = self._steps.get(ResolverStep)
        displaced = isinstance(step, ResolverStep) and not is_in_place(step)
        return found if displaced or found != former else None

    def _survey_resolver(self, *, resolved: bool) -> ResolverFact:
        """What would be without us: of the file that ours stands in the place of."""
        step = self._steps.get(ResolverStep)
        path = self._resolv_conf
        if isinstance(step, ResolverStep) and is_in_place(step):
            if step.way == "rewrite" and self._told is not None:
                return self._told  # it says nothing else while it is ours
            path = step.backup
        self._told = survey_resolver(path, BEHIND_STUB, resolved=resolved)
        return self._told

    def _resolver_before(self) -> ResolverFact:
        """What the client was told of it, or would be: what it plans with."""
        return self._told or self._survey_resolver(resolved=False)

    def _is_held(self) -> bool:
        with open_directory(self._journals) as directory, open_journals(directory) as found:
            return any(map(_holds_this_network, found))

    # --- making ---

    def open_link(self, plan: LinkPlan) -> tuple[int, socket.socket, socket.socket]:
        """Make the TUN and its DNS sockets; the three descriptors are the caller's.

        Raises Conflict where another session holds this network namespace, HostPermissionError,
        HostNetworkError (a name or address that is in use, too), DnsError; then nothing is left.
        """
        if self._steps:
            raise LocalProtocolError("the TUN device is open already")
        with open_directory(self._journals) as directory:
            with open_journals(directory) as found:
                _refuse_second(found)
            check_link(plan.name, (plan.address, plan.peer), self._survey(self._resolver_before()))
            alias = f"ktnet:{self._journal.name}"
            self._record(LinkStep(plan.name, alias))
        try:
            descriptors = self._make_link(plan, alias)
        except BaseException:
            self.release()
            raise
        self._plan = plan
        return descriptors

    def _make_link(self, plan: LinkPlan, alias: str) -> tuple[int, socket.socket, socket.socket]:
        tun = open_tun(plan.name)
        try:
            self._index = self._netlink.set_up_link(plan, alias)
            return tun, *open_dns_sockets(plan.name, plan.address)
        except BaseException:
            os.close(tun)
            raise

    def capture(
        self,
        routes: Iterable[IPv4Network],
        resolver: AnyResolverPlan | None,
        unreachable: Iterable[IPv6Network] = (),
    ) -> list[str]:
        """Have exactly these routes, and this resolver; may be said again with others.

        Returns notes for the user. Raises CaptureRefused where these routes would take from this
        machine what is its own, and changes nothing then; else HostNetworkError, DnsError or
        Conflict: routes and resolver are as they were before any capture.
        """
        if self._plan is None:
            raise LocalProtocolError("there is no TUN device to capture with")
        if resolver is not None and resolver.nameserver != self._plan.address:
            raise RemoteProtocolError("the nameserver is not the TUN device's own address")
        wanted, wanted6 = set(routes), set(unreachable)
        if not (wanted <= self._captured and wanted6 <= self._unreachable):
            facts = self._survey(self._resolver_before(), unless=self._plan.name)
            check_routes(wanted, facts, self._captured)
            check_unreachable(wanted6 - self._unreachable, facts)
        try:
            notes = self._give_back_resolver(unless=resolver)
            self._change_routes(self._plan.name, wanted)
            self._change_unreachable(wanted6)
            self._take_resolver(self._plan.name, resolver)
        except BaseException:
            self._undo(ResolvedStep, ResolverStep, UnreachableStep, RoutesStep)
            raise
        return notes

    def _give_back_resolver(self, *, unless: AnyResolverPlan | None) -> list[str]:
        """Undo what is not as `unless` wants it, or not any more."""
        notes: list[str] = []
        if not isinstance(unless, ResolvedPlan) and (told := self._steps.get(ResolvedStep)):
            notes += self._undo_step(told)
            del self._steps[ResolvedStep]
        step = self._steps.get(ResolverStep)
        if isinstance(step, ResolverStep) and not (step.plan == unless and is_in_place(step)):
            notes += restore_resolver(step)
            del self._steps[ResolverStep]
        return notes

    @property
    def _captured(self) -> set[IPv4Network]:
        step = self._steps.get(RoutesStep)
        return set(step.networks) if isinstance(step, RoutesStep) else set()

    def _change_routes(self, link: str, wanted: set[IPv4Network]) -> None:
        present = self._captured
        step = RoutesStep(link, f"ktnet:{self._journal.name}", _ordered(present | wanted))
        self._record(step)
        # New ones first, so that no connection goes elsewhere in between.
        for network in _ordered(wanted - present):
            self._netlink.add_route(network, self._index)
        for network in _ordered(present - wanted):
            self._netlink.delete_route(network, self._index)
        self._record(replace(step, networks=_ordered(wanted)))

    @property
    def _unreachable(self) -> set[IPv6Network]:
        step = self._steps.get(UnreachableStep)
        return set(step.networks) if isinstance(step, UnreachableStep) else set()

    def _change_unreachable(self, wanted: set[IPv6Network]) -> None:
        present = self._unreachable
        if wanted == present or not is_ipv6_there():
            return
        self._record(UnreachableStep(tuple(sorted(present | wanted))))
        for network in sorted(wanted - present):
            self._netlink.add_unreachable(network)
        for network in sorted(present - wanted):
            self._netlink.delete_unreachable(network)
        self._record(UnreachableStep(tuple(sorted(wanted))))

    def _take_resolver(self, link: str, wanted: AnyResolverPlan | None) -> None:
        if isinstance(wanted, ResolvedPlan):
            self._record(ResolvedStep(link, f"ktnet:{self._journal.name}"))
            tell_resolved(self._index, wanted)
        elif wanted is not None and ResolverStep not in self._steps:
            step = plan_resolver_step(wanted, self._resolv_conf)
            self._record(step)
            take_resolver(step)

    def _record(self, step: Step) -> None:
        """Write a step down, so that it may be made; in the place of a former one of its kind."""
        steps = {**self._steps, type(step): step}
        self._journal.write(tuple(steps.values()))
        self._steps = steps

    # --- undoing ---

    def release(self) -> list[str]:
        """Undo everything, as far as it goes; returns notes for the user.

        Where a step can't be undone the others are undone all the same, and its error is raised;
        the journal stays for the next helper.
        """
        notes, errors = self._undo(
            ResolvedStep, ResolverStep, UnreachableStep, RoutesStep, LinkStep
        )
        if errors:
            raise errors[0]
        self._journal.remove()
        return notes

    def _undo(self, *kinds: type[Step]) -> tuple[list[str], list[KtnetError]]:
        """Undo our steps of these kinds. The journal may go on to name them: that does no harm."""
        notes: list[str] = []
        errors: list[KtnetError] = []
        for kind in kinds:
            step = self._steps.get(kind)
            try:
                if step is not None:
                    notes += self._undo_step(step)
            except KtnetError as error:
                errors.append(error)
            else:
                self._steps.pop(kind, None)
        return notes, errors

    def _undo_step(self, step: Step) -> list[str]:
        match step:
            case ResolverStep():
                return restore_resolver(step)
            case ResolvedStep(name, alias):
                if link := self._netlink.find_link(name, alias):
                    revert_resolved(link.index)
            case UnreachableStep(unreachable):
                for each in unreachable:
                    self._netlink.delete_unreachable(each)
            case RoutesStep(name, alias, networks):
                if link := self._netlink.find_link(name, alias):
                    for network in networks:
                        self._netlink.delete_route(network, link.index)
            case LinkStep(name, alias):
                if link := self._netlink.find_link(name, alias):
                    self._netlink.delete_link(link.index)
        return []

    def _mend(self) -> list[str]:
        """Undo what helpers have left behind that were killed; returns what was done."""
        notes: list[str] = []
        with open_directory(self._journals) as directory:
            remove_drafts(directory)
            with open_journals(directory) as found:
                for journal in found:
                    if not journal.alive:
                        notes += self._mend_one(journal)
                if not any(journal.alive for journal in found):
                    notes += mend_resolver(self._resolv_conf)
        return notes

    def _mend_one(self, journal: Found) -> list[str]:
        if journal.record is None:
            return [f"the journal {journal.path} can't be read: see what it says, then remove it"]
        if (journal.record.net, journal.record.mnt) != namespaces():
            return []  # for a helper there to undo
        notes: list[str] = []
        try:
            for step in reversed(journal.record.steps):
                notes += self._undo_step(step)
        except KtnetError as error:
            return [*notes, f"a former session could not be undone: {error}"]
        journal.path.unlink(missing_ok=True)
        return [*notes, f"a former session (pid {journal.pid}) was undone that had been killed"]


def _refuse_second(found: Iterable[Found]) -> None:
    for journal in found:
        if _holds_this_network(journal):
            raise Conflict(
                HELD, hint=f"end it with: ktnet disconnect (its helper has pid {journal.pid})"
            )


def _holds_this_network(journal: Found) -> bool:
    net, _ = namespaces()
    return journal.alive and journal.record is not None and journal.record.net == net


def _ordered(networks: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    return tuple(sorted(networks))
