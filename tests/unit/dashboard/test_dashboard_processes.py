"""Whose connection it is, from this machine's own /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ktnet.dashboard.processes import ProcessNames, parse_sockets

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
REST = "01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 20 0"


def test_our_own_connection_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            source = client.getsockname()
            name = f"{Path('/proc/self/comm').read_text().strip()} ({os.getpid()})"
            names = ProcessNames()
            assert names.find([source, ("10.9.9.9", 9)]) == {source: name}
            assert names.find([source]) == {source: name}
        assert ProcessNames().find([("10.9.9.9", 9)]) == {}


def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    text = HEADER + f"   0: 0A01020A:9C40 1400600A:0050 {REST}\n"
    assert list(parse_sockets(text)) == [(("10.2.1.10", 40000), "4242")]
    mapped = HEADER + f"   0: 0000000000000000FFFF00000A01020A:9C40 {'0' * 32}:0050 {REST}\n"
    assert list(parse_sockets(mapped)) == [(("10.2.1.10", 40000), "4242")]
    other = HEADER + f"   0: {'1' * 32}:9C40 {'0' * 32}:0050 {REST}\n\n   garbage\n  1: zz:zz x\n"
    assert list(parse_sockets(other)) == []


def test_no_proc_is_no_names(tmp_path: Path) -> None:
    assert ProcessNames(tmp_path).find([("127.0.0.1", 1)]) == {}
