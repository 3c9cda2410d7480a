"""A cluster far away: what 100 ms of round trip leave of a link, through TUN and tunnel."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from connect_client import open_connection

from ktnet.lab import traffic
from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

ECHO, SINK, SOURCE = 7001, 7002, 7003
RATE_MBIT = 40
POSSIBLE_MB_S = RATE_MBIT / 8 * 1448 / 1514
LEAST_SHARE = 0.3
"""With CUBIC's ramp, and on a machine whose other work CUBIC takes for a queue. A tunnel that lets
32 KiB pass in a round trip would have 0.07."""

SIZE = 6 << 20

SILENT = 60
"""As a program has that keeps its connections to a database."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Its laptop is far away from the first packet of the tunnel on, as it is for users."""
    with open_lab(f"far-{os.getpid()}") as lab:
        lab.fault("packets", delay_ms=100, rate_mbit=RATE_MBIT)
        yield lab


@pytest.mark.parametrize("via", ["direct", "port-forward"])
def test_a_bulk_stream_fills_a_long_link(lab: Lab, via: str) -> None:
    with open_connection(lab, "--via", via):
        up = lab.call(traffic.upload, "streams.demo", SINK, SIZE)
        down = lab.call(traffic.download, "streams.demo", SOURCE, SIZE)
    check(up, down)


def test_connections_that_are_silent_take_nothing_from_one_that_is_busy(lab: Lab) -> None:
    """Not even the promises of what they may send, of which there are only so many."""
    with open_connection(lab):
        check(*lab.call(transfer_beside_silence))


def transfer_beside_silence() -> tuple[traffic.Transfer, traffic.Transfer]:
    with ExitStack() as stack:
        for _ in range(SILENT):
            connection = stack.enter_context(socket.create_connection(("streams.demo", ECHO), 10))
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        up = traffic.upload("streams.demo", SINK, SIZE)
        return up, traffic.download("streams.demo", SOURCE, SIZE)


def check(up: traffic.Transfer, down: traffic.Transfer) -> None:
    shares = {"up": up.rate_mb_s / POSSIBLE_MB_S, "down": down.rate_mb_s / POSSIBLE_MB_S}
    print({way: round(share, 2) for way, share in shares.items()})
    assert up.sha256 == down.sha256 == traffic.stream_sha256(SIZE)
    assert min(shares.values()) >= LEAST_SHARE
