"""JSON messages with file descriptors, between the daemon and the zygote (unix(7), SCM_RIGHTS)."""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence

MOST_DESCRIPTORS = 16
MESSAGE_SIZE = 4096


def send_message(
    connection: socket.socket, message: dict[str, object], descriptors: Sequence[int] = ()
) -> None:
    """One packet of a SOCK_SEQPACKET socket."""
    socket.send_fds(connection, [json.dumps(message).encode()], list(descriptors))


def receive_message(connection: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """A message with its descriptors, closed on execve; None where the other end has gone."""
    # socket.recv_fds of Python 3.11 forgets its flags.
    size = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
    data, ancillary, _, _ = connection.recvmsg(MESSAGE_SIZE, size, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content)
    return json.loads(data), list(descriptors)
