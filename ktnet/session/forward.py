"""Local ports put before a tunnel, or before the API server's own port-forward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from ktnet.errors import Forbidden, HostNetworkError, NotFound, UsageError
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.podforward import PodDialer
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.session.targets import Forward, Target
from ktnet.session.tunnel import UNCHANGED, Tunnel, build_spec, open_tunnel
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


@asynccontextmanager
async def open_forward_session(options: ForwardOptions, report: Report) -> AsyncIterator[Running]:
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
        ledger = Ledger()
        listening = []
        for forward in options.forwards:
            host = await find_host(cluster, forward.target, use_shadow=options.use_shadow)
            counted = CountedDialer(dialer, ledger)
            way = await _enter_listener(parts, options.address, forward, counted, host, report)
            listening.append(way)
            report.step("forward", way)
        place = {"namespace": cluster.namespace, "context": cluster.context}
        yield Running(
            tunnel=tunnel,
            connections=ledger,
            describe_own=lambda: {**place, "forwards": listening},
            watch=asyncio.Event().wait if tunnel is None else tunnel.watch,
            describe_end=(lambda: UNCHANGED) if tunnel is None else tunnel.describe_end,
        )


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
    dialer: CountedDialer,
    host: str,
    report: Report,
) -> str:
    """ "127.0.0.1:8080 -> service/tomcat:80"."""
    there = f"{forward.target}:{forward.remote_port}"
    seen: set[OpenFailure] = set()

    def failed(failure: OpenFailure) -> None:
        if failure not in seen:  # once is enough to know, and there may be thousands
            seen.add(failure)
            report.note(f"{there}: {CAUSES[failure]}")

    listener = open_listener(
        address, forward.local_port, dialer, (host, forward.remote_port), failed
    )
    try:
        port = await parts.enter_async_context(listener)
    except OSError as error:
        raise HostNetworkError(
            f"can't listen on {address}:{forward.local_port}: {error.strerror or error}",
            hint="another local port: LOCAL:REMOTE, or :REMOTE for any free one",
        ) from error
    dialer.listens_at = (address, port)
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{where} -> {there}"
