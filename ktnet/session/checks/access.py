"""The way to the API server, and who we are there: one step after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ktnet.errors import KtnetError
from ktnet.session.checks.result import Check, fail, ok, skip, warn
from ktnet.session.cluster import Cluster

CONNECT_TIMEOUT_S = 10.0
SLOW_S = 0.5
"""For an answer of the API server: above this, everything will feel it."""

MOST_SKEW_S = 30.0
"""Leases are judged by the server's clock, so ours may be wrong; but tokens and certificates have
dates too."""

OLDEST_SERVER = (1, 25)
"""From here on all that is used is there (policy/v1, discovery/v1, autoscaling/v2)."""


async def check_access(cluster: Cluster) -> AsyncIterator[Check]:
    """Stops at the first thing that fails: what comes behind it can't be told."""
    target = cluster.api.target
    yield ok("kubeconfig", f"context {target.context or '(in-cluster)'}: {target.server}")
    reached = await _check_reachable(cluster)
    if reached is not None:
        yield reached
    try:
        started_s = time.monotonic()
        version = await cluster.api.read_version()
        took_s = time.monotonic() - started_s
        identity = await cluster.api.who_am_i()
    except KtnetError as error:
        yield fail("api-server" if reached is None else "credentials", error)
        return
    yield ok("credentials", f"known there as {identity}" if identity else "accepted")
    yield _check_latency(took_s)
    yield _check_version(version)
    yield _check_clock(cluster)


async def _check_reachable(cluster: Cluster) -> Check | None:
    """DNS and TCP; TLS and HTTP are the next request's, and so is what to say of a failure (None):
    a session would end with it."""
    target = cluster.api.target
    if target.access.proxy:
        return skip("api-server", f"by way of the proxy {_without_secrets(target.access.proxy)}")
    url = urlsplit(target.server)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=1)
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return None
    writer.close()
    addresses = sorted({str(address[0]) for *_, address in found})
    return ok("api-server", f"{host}:{port} answers ({', '.join(addresses)})")


def _check_latency(took_s: float) -> Check:
    if took_s > SLOW_S:
        return warn("latency", f"the API server took {took_s * 1000:.0f} ms to answer")
    return ok("latency", f"{took_s * 1000:.0f} ms for a request")


def _check_version(text: str) -> Check:
    numbers = [int("".join(filter(str.isdigit, part)) or 0) for part in text.lstrip("v").split(".")]
    if tuple(numbers[:2]) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        return warn("server-version", f"Kubernetes {text}", f"tested with {oldest} and newer")
    return ok("server-version", f"Kubernetes {text}")


def _check_clock(cluster: Cluster) -> Check:
    ahead_s = (cluster.api.now() - datetime.now(UTC)).total_seconds()
    if abs(ahead_s) < 1:
        return ok("clock", "this machine's clock agrees with the API server's")
    detail = f"this machine's clock is {abs(ahead_s):.0f} s {'behind' if ahead_s > 0 else 'ahead'}"
    if abs(ahead_s) > MOST_SKEW_S:
        return warn("clock", detail, "set it: tokens and certificates may be refused")
    return ok("clock", detail)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
