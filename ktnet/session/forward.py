"""Local ports put before a tunnel, or before the API server's own port-forward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ktnet.errors import Forbidden, HostNetworkError, NotFound, UsageError
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.live import LiveRequest
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.podforward import PodDialer
from ktnet.session.report import Report
from ktnet.session.targets import Forward, Target
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel
from ktnet.stream.ledger import CountedDialer, Ledger
from ktnet.stream.listener import open_listener
from ktnet.tasks import open_tasks
from ktnet.wire.flow import Dialer, OpenFailure

CAUSES = {
    OpenFailure.REFUSED: "connection refused",
    OpenFailure.HOST_UNREACHABLE: "host unreachable",
    OpenFailure.NETWORK_UNREACHABLE: "network unreachable",
    OpenFailure.TIMED_OUT: "no answer",
    OpenFailure.PROHIBITED: "not permitted",
    OpenFailure.SHORTAGE: "the shadow lacks memory or ports",
    OpenFailure.UNKNOWN_NAME: "no such name in the cluster",
    OpenFailure.TUNNEL_DOWN: "the tunnel is down",
}


@dataclass(frozen=True)
class ForwardOptions:
    """Which ports lead where."""

    cluster: ClusterOptions
    shadow: ShadowOptions
    forwards: tuple[Forward, ...]
    address: str = "127.0.0.1"
    use_shadow: bool = True


@dataclass(frozen=True)
class ForwardSession:
    """Ports that are listening."""

    cluster: Cluster
    tunnel: Tunnel | None
    listening: list[str] = field(default_factory=list)
    """ "127.0.0.1:8080 -> service/tomcat:80" for each."""
    ledger: Ledger = field(default_factory=Ledger)

    async def watch(self) -> None:
        """Waits until the tunnel is lost; raises what became of it."""
        if self.tunnel is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self.tunnel.watch()

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self.tunnel is not None and not self.tunnel.shadow.is_gone:
            return f"{self.tunnel.shadow.name} in the cluster ends by itself"
        return "the cluster is as it was, and this machine was never changed"

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        if self.tunnel is not None:
            state = self.tunnel.describe()
        else:
            state = {"namespace": self.cluster.namespace, "context": self.cluster.context}
        return {**state, "forwards": self.listening, "flows": self.ledger.describe()}

    async def tell_live(self, request: LiveRequest) -> dict[str, Any]:
        """What goes on, for who looks on."""
        told = {} if self.tunnel is None else await self.tunnel.tell_live()
        return {**told, "flows": self.ledger.describe_flows(request.flows)}

    async def explain_name(self, _name: str, _qtype: int) -> dict[str, Any]:
        """Raises NotFound: no name of this machine is decided upon here."""
        raise NotFound("`ktnet forward` doesn't touch this machine's names")


@asynccontextmanager
async def open_forward_session(
    options: ForwardOptions, report: Report
) -> AsyncIterator[ForwardSession]:
    """Listens until the context is left; then nothing of it remains.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(open_cluster(options.cluster))
        report.step("cluster", cluster.describe())
        tunnel: Tunnel | None = None
        dialer: Dialer
        if options.use_shadow:
            spec = build_spec(options.shadow, cluster.namespace)
            dialer = tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))
        else:
            tasks = await parts.enter_async_context(open_tasks())
            dialer = PodDialer(cluster.api, cluster.namespace, tasks)
        session = ForwardSession(cluster, tunnel)
        for forward in options.forwards:
            host = await find_host(cluster, forward.target, use_shadow=options.use_shadow)
            await _enter_listener(parts, options.address, forward, (dialer, host), session, report)
        yield session


async def find_host(cluster: Cluster, target: Target, *, use_shadow: bool) -> str:
    """What the dialer is to connect to. NotFound where there is no such object."""
    if not use_shadow:
        if target.kind != "pod":
            raise UsageError(
                f"without a shadow only pods are reached, not {target}",
                hint="leave out --no-shadow, or name a pod: pod/NAME",
            )
        await cluster.api.get("pods", target.name, namespace=cluster.namespace)
        return target.name
    if target.kind == "host":
        return target.name
    if target.kind == "service":
        with suppress(Forbidden):  # it is asked for a better word than "no such name", no more
            await cluster.api.get("services", target.name, namespace=cluster.namespace)
        # The pod's resolver completes it, whatever the cluster's domain is.
        return f"{target.name}.{cluster.namespace}.svc"
    pod = await cluster.api.get("pods", target.name, namespace=cluster.namespace)
    address = (pod.get("status") or {}).get("podIP")
    if not isinstance(address, str) or not address:
        raise NotFound(f"pod {target.name} has no address yet", hint="is it running?")
    return address


async def _enter_listener(
    parts: AsyncExitStack,
    address: str,
    forward: Forward,
    way: tuple[Dialer, str],
    session: ForwardSession,
    report: Report,
) -> None:
    dialer, host = way
    there = f"{forward.target}:{forward.remote_port}"
    seen: set[OpenFailure] = set()

    def failed(failure: OpenFailure) -> None:
        if failure not in seen:  # once is enough to know, and there may be thousands
            seen.add(failure)
            report.note(f"{there}: {CAUSES[failure]}")

    counted = CountedDialer(dialer, session.ledger)
    listener = open_listener(
        address, forward.local_port, counted, (host, forward.remote_port), failed
    )
    try:
        port = await parts.enter_async_context(listener)
    except OSError as error:
        raise HostNetworkError(
            f"can't listen on {address}:{forward.local_port}: {error.strerror or error}",
            hint="another local port: LOCAL:REMOTE, or :REMOTE for any free one",
        ) from error
    counted.listens_at = (address, port)
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    session.listening.append(f"{where} -> {there}")
    report.step("forward", session.listening[-1])
