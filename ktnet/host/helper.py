"""The process that has NET_ADMIN: takes requests from the client, opens the door for them.

    python -I -m ktnet.host.helper FD

FD is one end of a socket pair that the client made: nobody else can ask. It ends, and undoes
everything first, when the client closes the other end or dies, and on SIGTERM. It has a session of
its own, so the terminal's Ctrl-C and hang-up, meant for the client, don't reach it.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import sys
from contextlib import suppress

from ktnet.errors import KtnetError, RemoteProtocolError
from ktnet.host.door import Door
from ktnet.host.netlink import open_netlink
from ktnet.host.replies import Done, Reply, build_reply
from ktnet.host.requests import (
    MAX_REQUEST_BYTES,
    CaptureRequest,
    FactsRequest,
    OpenRequest,
    ReleaseRequest,
    Request,
    parse_request,
)


def main() -> None:
    """Serve the client on the descriptor that argv names; exit code 0 where all is undone."""
    client = _inherited(sys.argv[1])
    _leave_terminal()
    os.umask(0o077)
    with open_netlink() as netlink:
        door = Door(netlink)
        try:
            serve(client, door, _on_sigterm())
        finally:
            door.release()


def serve(client: socket.socket, door: Door, stop: int) -> None:
    """Answer requests until the client is gone, asks for the end, or `stop` gets readable."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.register(stop, select.POLLIN)
    going_on = True
    while going_on:
        ready = {descriptor for descriptor, _ in poll.poll()}
        data = b"" if stop in ready else _receive(client)
        going_on = bool(data) and _answer(client, door, data)


def _receive(client: socket.socket) -> bytes:
    """The next datagram; empty where the client is gone."""
    try:
        return client.recv(MAX_REQUEST_BYTES + 1)
    except OSError:
        return b""


def _answer(client: socket.socket, door: Door, data: bytes) -> bool:
    """Do what one datagram asks; False where it was the last one."""
    number, request = 0, None
    descriptors: list[int] = []
    reply: Reply
    try:
        number, request = parse_request(data)
        reply = _do(door, request, descriptors)
    except KtnetError as error:
        reply = error
    try:
        _send(client, build_reply(number, reply), descriptors)
    except OSError:
        return False  # the client is gone
    finally:
        # Theirs alone from now on: the TUN has to go with the client.
        for descriptor in descriptors:
            os.close(descriptor)
    return not isinstance(request, ReleaseRequest)


def _do(door: Door, request: Request, descriptors: list[int]) -> Reply:
    match request:
        case FactsRequest():
            return door.facts()
        case OpenRequest(link):
            tun, udp, tcp = door.open_link(link)
            descriptors += [tun, udp.detach(), tcp.detach()]
            return Done()
        case CaptureRequest(routes, resolver):
            return Done(tuple(door.capture(routes, resolver)))
        case ReleaseRequest():
            return Done(tuple(door.release()))


def _send(client: socket.socket, data: bytes, descriptors: list[int]) -> None:
    rights = array.array("i", descriptors)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
    client.sendmsg([data], ancillary)


def _inherited(argument: str) -> socket.socket:
    """The socket that the client gave us. Raises RemoteProtocolError where it is none of its."""
    try:
        client = socket.socket(fileno=int(argument))
        pair = client.family == socket.AF_UNIX and client.type == socket.SOCK_SEQPACKET
        # Both ends of a pair are without a name: whoever listens under one, others could reach.
        private = pair and not client.getsockname() and not client.getpeername()
    except (ValueError, OSError) as error:
        raise RemoteProtocolError("the helper was started without its socket") from error
    if not private:
        raise RemoteProtocolError("the helper was started with a socket that is not a pair's")
    client.set_inheritable(False)
    return client


def _leave_terminal() -> None:
    with suppress(PermissionError):  # the leader of a process group has its session already
        os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)


def _on_sigterm() -> int:
    """A descriptor that gets readable on SIGTERM: a step that is under way is finished first."""
    readable, writable = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(writable, b"\0"))
    return readable


if __name__ == "__main__":
    try:
        main()
    except KtnetError as error:
        sys.exit(f"ktnet: {error.message}")
