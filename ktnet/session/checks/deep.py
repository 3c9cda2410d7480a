"""The shadow itself: started, reached, measured, and gone again."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator

from ktnet.errors import KtnetError
from ktnet.session.checks.result import Check, fail, ok
from ktnet.session.cluster import Cluster
from ktnet.session.options import ShadowOptions
from ktnet.session.tunnel import build_spec, open_tunnel

ROUND_TRIPS = 10


class _Silent:
    """A Report that nobody reads."""

    def step(self, name: str, detail: str) -> None: ...
    def begin(self) -> None: ...
    def waiting(self, detail: str) -> None: ...
    def note(self, text: str) -> None: ...
    def show(self, line: str) -> None: ...


async def check_deep(cluster: Cluster, shadow: ShadowOptions) -> AsyncIterator[Check]:
    """Image, start, tunnel: what only a try can tell."""
    started_s = time.monotonic()
    try:
        spec = build_spec(shadow, cluster.namespace)
        async with open_tunnel(cluster, spec, _Silent()) as tunnel:
            took_s = time.monotonic() - started_s
            yield ok("image", f"{spec.image} was pulled and runs")
            trips_s = [await tunnel.round_trip() for _ in range(ROUND_TRIPS)]
            median_ms = statistics.median(trips_s) * 1000
            yield ok("tunnel", f"up in {took_s:.1f} s, round trip {median_ms:.1f} ms")
    except KtnetError as error:
        yield fail("tunnel", error)
