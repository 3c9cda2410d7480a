from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from ktnet.stream.target import TargetFailed, build_failure, connect_target
from ktnet.wire.flow import OpenFailure


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.ECONNREFUSED, OpenFailure.REFUSED),
        (errno.EHOSTUNREACH, OpenFailure.HOST_UNREACHABLE),
        (errno.ENETUNREACH, OpenFailure.NETWORK_UNREACHABLE),
        (errno.ETIMEDOUT, OpenFailure.TIMED_OUT),
        (errno.EACCES, OpenFailure.PROHIBITED),
        (errno.EPERM, OpenFailure.PROHIBITED),
        (errno.EMFILE, OpenFailure.SHORTAGE),
        (errno.ENFILE, OpenFailure.SHORTAGE),
        (errno.ENOBUFS, OpenFailure.SHORTAGE),
        (errno.EADDRNOTAVAIL, OpenFailure.SHORTAGE),
        (errno.EPROTO, OpenFailure.HOST_UNREACHABLE),
    ],
)
def test_an_errno_becomes_the_cause_that_travels(number, failure):
    failed = build_failure(OSError(number, "x"))
    assert failed.failure is failure
    assert failed.reason == errno.errorcode[number]


def test_a_name_that_is_not_found():
    failed = build_failure(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert failed.failure is OpenFailure.UNKNOWN_NAME


def test_nobody_answering_is_a_time_out_and_leaves_no_socket():
    async def scenario(port):
        with pytest.raises(TargetFailed) as caught:
            await connect_target("127.0.0.1", port, timeout_s=0.2)
        assert caught.value.failure is OpenFailure.TIMED_OUT

    # Linux drops SYNs for a listener whose queue is full.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            asyncio.run(scenario(port))
