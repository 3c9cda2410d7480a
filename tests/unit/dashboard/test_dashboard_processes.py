"""Whose connection it is, from this machine's own /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ktnet.dashboard.processes import ProcessNames, parse_sockets

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
MAPPED = "0000000000000000FFFF0000"
REST = "01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 20 0"


def test_our_own_connection_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            ours = (client.getsockname(), server.getsockname())
            # To elsewhere, the same port may be another's.
            other = (client.getsockname(), ("10.9.9.9", 9))
            name = f"{Path('/proc/self/comm').read_text().strip()} ({os.getpid()})"
            names = ProcessNames()
            assert names.find([ours, other]) == {ours: name}
            assert names.find([ours]) == {ours: name}
        assert ProcessNames().find([other]) == {}


def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    expected = [((("10.2.1.10", 40000), ("10.96.0.20", 80)), "4242")]
    text = HEADER + f"   0: 0A01020A:9C40 1400600A:0050 {REST}\n"
    assert list(parse_sockets(text)) == expected
    mapped = HEADER + f"   0: {MAPPED}0A01020A:9C40 {MAPPED}1400600A:0050 {REST}\n"
    assert list(parse_sockets(mapped)) == expected
    six = f"   0: {'1' * 32}:9C40 {'0' * 32}:0050 {REST}\n"
    assert list(parse_sockets(HEADER + six + "\n   garbage\n  1: zz:zz x\n  1: 0:1 2:3\n")) == []


def test_no_proc_is_no_names(tmp_path: Path) -> None:
    connection = (("127.0.0.1", 1), ("127.0.0.1", 2))
    assert ProcessNames(tmp_path).find([connection]) == {}
