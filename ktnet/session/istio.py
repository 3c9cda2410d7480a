"""A version of one's own that Istio's rules send marked requests to.

shadow with the mark ─► Ready? ─► subset, routes ─► (marked requests) ─► routes, subset ─► gone
                                   added to Istio's objects               removed
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from ktnet.cluster.exchange.workload import find_gitops
from ktnet.cluster.holding import find_holder
from ktnet.cluster.istio.hosts import Targets
from ktnet.cluster.istio.plan import Version
from ktnet.cluster.istio.record import Entry
from ktnet.cluster.istio.rules import GROUP, Rules, find_rules
from ktnet.cluster.labels import is_managed
from ktnet.cluster.rights import list_for_istio
from ktnet.cluster.server.review import require_rights
from ktnet.errors import Conflict, KtnetError, NotFound, UsageError
from ktnet.session.istio_leftovers import clean_rules
from ktnet.session.leftovers import tidy
from ktnet.session.mesh import MeshOptions, Subject, open_subject, open_version
from ktnet.session.patience import retry_while_away
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.wire import meshrecord
from ktnet.wire.record import build_time

_RETRY_FOR_S = 120.0
"""To take the rules out, while the API server is away."""


class AddedRules:
    """What leads marked requests to a version: added, and taken out again."""

    def __init__(self, rules: Rules, version: Version, namespace: str, report: Report) -> None:
        self.is_undone = False
        self._rules = rules
        self._version = version
        self._namespace = namespace
        self._report = report

    async def add(self) -> None:
        """From now on marked requests are led here. Raises Conflict where that can't be done."""
        entry = self._version.entry
        open_routes = await self._rules.add(self._version)
        services = ", ".join(entry.services)
        self._report.step("rules", f"requests to {services} with `{entry.mark}` come here")
        for route in open_routes:
            self._report.note(
                f"{route} leads to no subset that leaves this version out: a random share of its "
                "requests comes here"
            )

    async def end(self) -> None:
        """Take the rules out. What fails is told, and left to `clean`."""
        entry = self._version.entry
        try:
            await retry_while_away(
                lambda: self._rules.remove(entry.session, entry.name), _RETRY_FOR_S
            )
        except KtnetError as error:
            self._say_not_undone(error)
        else:
            self.is_undone = True

    def _say_not_undone(self, error: KtnetError) -> None:
        self._report.note(
            f"the rules of {self._version.entry.name} could not be removed: {error}; when that is "
            f"mended: ktnet clean -n {self._namespace}"
        )


@asynccontextmanager
async def open_istio_session(options: MeshOptions, report: Report) -> AsyncIterator[Running]:
    """Led to until the context is left; then Istio's objects are without it, and it is gone.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with open_subject(options, report) as subject, AsyncExitStack() as parts:
        cluster = subject.cluster
        rules = await find_rules(cluster.api, cluster.namespace)
        if rules is None:
            raise NotFound(
                f"the cluster has no {GROUP}: Istio isn't installed there",
                hint="--mode auto needs no service mesh, and --mode manual prints the rules",
            )
        await require_rights(cluster.api, cluster.namespace, list_for_istio())
        await tidy(cluster, report)
        await clean_rules(cluster, all_users=False, dry_run=False, tell=report.note)
        version = build_version(options, subject)
        # What can't be done is known before anything is made.
        await _check(rules, version, report)
        mesh = await parts.enter_async_context(open_version(options, subject, report))
        added = AddedRules(rules, version, cluster.namespace, report)
        # Before they are added: we may never hear the answer.
        parts.push_async_callback(added.end)
        await added.add()
        yield replace(
            mesh,
            describe_own=lambda: {
                **mesh.describe_own(),
                "mode": "istio",
                "services": list(version.entry.services),
            },
            describe_end=lambda: (
                mesh.describe_end() if added.is_undone else "the rules are left: see `ktnet clean`"
            ),
        )


def build_version(options: MeshOptions, subject: Subject) -> Version:
    """What is to be routed to. Raises Conflict, NotFound where no Service would be routed."""
    cluster, workload = subject.cluster, subject.workload
    services = [each for each in subject.services if not is_managed(each)]
    if not services:
        raise NotFound(
            f"no Service stands in front of {workload.title}, whose requests could be routed",
            hint=f"kubectl get services -n {cluster.namespace}",
        )
    if workload.pod_labels.get(options.key) == options.value:
        raise UsageError(
            f"{options.key}={options.value} is the mark of {workload.title} itself",
            hint="choose another --version-mark",
        )
    for each in services:
        if meshrecord.ANNOTATION in (each["metadata"].get("annotations") or {}):
            raise Conflict(
                f"service/{each['metadata']['name']} is meshed: a router stands in front of it",
                hint="join it with --mode auto",
            )
    names = tuple(each["metadata"]["name"] for each in services)
    entry = Entry(
        subject.session,
        find_holder(),
        build_time(cluster.api.now()),
        names,
        options.key,
        options.value,
    )
    owners = {each["metadata"]["name"]: str(each["metadata"]["uid"]) for each in services}
    targets = Targets(cluster.namespace, names)
    return Version(entry, targets, owners, workload.pod_labels, subject.labels)


async def _check(rules: Rules, version: Version, report: Report) -> None:
    """Raises Conflict; says who may put the objects back meanwhile."""
    for step in await rules.plan(version):
        if step.before is None:
            continue
        for who in find_gitops(step.before):
            kind, name = step.before["kind"].lower(), step.before["metadata"]["name"]
            report.note(
                f"{kind}/{name} is kept by {who}, which may take the mark out again: then let it "
                "ignore the differences"
            )
