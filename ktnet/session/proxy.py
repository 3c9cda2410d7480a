"""A local proxy put before a tunnel: for hosts without a TUN, or where nothing may be changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ktnet.errors import NotFound
from ktnet.proxy.handshake import Credentials
from ktnet.proxy.server import open_proxy_server
from ktnet.session.cluster import open_cluster
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.session.tunnel import build_spec, open_tunnel
from ktnet.stream.ledger import CountedDialer, Ledger


@dataclass(frozen=True)
class ProxyOptions:
    """Where the proxy listens, and for whom."""

    cluster: ClusterOptions
    shadow: ShadowOptions
    address: str = "127.0.0.1"
    port: int = 1080
    credentials: Credentials | None = None


@asynccontextmanager
async def open_proxy_session(options: ProxyOptions, report: Report) -> AsyncIterator[Running]:
    """Listens until the context is left; then nothing of it remains.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(open_cluster(options.cluster))
        report.step("cluster", cluster.describe())
        spec = build_spec(options.shadow, cluster.namespace)
        tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))
        ledger = Ledger()
        dialer = CountedDialer(tunnel, ledger)
        server = await parts.enter_async_context(
            open_proxy_server(options.address, options.port, dialer, options.credentials)
        )
        address, port = dialer.listens_at = server.address
        report.step("proxy", f"SOCKS5 and HTTP on {address}:{port}")
        for line in build_exports(address, port, cluster.api.target.server, options.credentials):
            report.show(line)
        yield Running(
            tunnel=tunnel,
            connections=ledger,
            describe_own=lambda: {
                "proxy": f"{address}:{port}",
                "clients": asdict(server.counters),
            },
            watch=tunnel.watch,
            describe_end=tunnel.describe_end,
            explain_name=_explain_name,
        )


async def _explain_name(_name: str, _qtype: int) -> dict[str, Any]:
    raise NotFound(
        "in proxy mode this machine's names are not touched",
        hint="names that go through the proxy are resolved in the cluster",
    )


def build_exports(
    address: str, port: int, api_server: str, credentials: Credentials | None
) -> list[str]:
    """Shell lines that make other programs use the proxy, and not for what is reached anyway.

    `$KTNET_PROXY_PASSWORD` stands where the password goes: nothing secret is printed.
    """
    user = f"{credentials.user}:$KTNET_PROXY_PASSWORD@" if credentials else ""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    kept = ",".join(["localhost", "127.0.0.1", urlsplit(api_server).hostname or ""]).rstrip(",")
    return [
        f'export HTTP_PROXY="http://{user}{where}" HTTPS_PROXY="http://{user}{where}"',
        'export http_proxy="$HTTP_PROXY" https_proxy="$HTTPS_PROXY"',
        f'export ALL_PROXY="socks5h://{user}{where}" all_proxy="socks5h://{user}{where}"',
        f'export NO_PROXY="{kept}" no_proxy="{kept}"',
    ]
