"""The process that has NET_ADMIN: takes requests from the client, opens the door for them.

    python -I -m ktnet.host.helper

Its standard input is one end of a socket pair that the client made: nobody else can ask (sudo
closes other descriptors). It ends, and undoes everything first, when the client closes the other
end or dies, and on SIGTERM. It has a session of its own, so the terminal's Ctrl-C and hang-up,
meant for the client, don't reach it.

There are two of it: one serves, the other (`ktnet.host.supervisor`) mends should that be killed.

Whoever may start it by sudo shall gain by it no more than a plan may contain. So it takes no
arguments, its peer has to be who called sudo, and nothing of its surroundings counts: environment,
directory, mask, descriptors.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress

from ktnet.errors import DnsError, KtnetError, RemoteProtocolError
from ktnet.host.door import Door
from ktnet.host.netlink import open_netlink
from ktnet.host.privileges import OF_THE_HELPER, keep_only
from ktnet.host.replies import UNASKED, Done, Reply, build_reply
from ktnet.host.requests import (
    MAX_REQUEST_BYTES,
    CaptureRequest,
    FactsRequest,
    OpenRequest,
    ReleaseRequest,
    Request,
    parse_request,
)
from ktnet.host.supervisor import supervise

_CREDENTIALS = struct.Struct("3i")
"""pid, uid, gid of struct ucred (unix(7), SO_PEERCRED)."""

_LOOK_EVERY_MS = 1000
"""At the resolver's file, for changes of others. Not by inotify(7): that doesn't see a file mounted
over, nor one behind a symlink, nor one that somebody else's machine has written."""


def main() -> None:
    """Serve the client on standard input; the exit code is 0 where all is undone."""
    caller = int(os.environ.get("SUDO_UID", os.getuid()))
    client = _inherited()
    _check_peer(client, caller)
    if "SUDO_UID" in os.environ and os.fork():
        os._exit(0)  # sudo has done its part: the terminal is the user's again
    _leave_surroundings()
    if os.geteuid() == 0:
        keep_only(OF_THE_HELPER)
    supervise(client, lambda: run(client), mend)


def run(client: socket.socket) -> None:
    """Serve the client, then undo what it has not had undone itself."""
    with open_netlink() as netlink:
        door = Door(netlink)
        try:
            serve(client, door, _on_sigterm())
        finally:
            door.release()


def mend() -> None:
    """Undo what a helper that was killed has left behind."""
    with open_netlink() as netlink:
        Door(netlink).facts()


def serve(client: socket.socket, door: Door, stop: int) -> None:
    """Answer requests until the client is gone, asks for the end, or `stop` gets readable."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.register(stop, select.POLLIN)
    going_on = True
    while going_on:
        ready = {descriptor for descriptor, _ in poll.poll(_LOOK_EVERY_MS)}
        if not ready:
            going_on = _look(client, door)
            continue
        data = b"" if stop in ready else _receive(client)
        going_on = bool(data) and _answer(client, door, data)


def _look(client: socket.socket, door: Door) -> bool:
    """Tell the client where somebody else has changed how names are resolved.

    False where it is gone. A file that can't be read now may be on its way to another one.
    """
    try:
        changed = door.changed_resolver()
        if changed is not None:
            _send(client, build_reply(UNASKED, changed), [])
    except OSError:
        return False
    except DnsError:
        pass
    return True


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
        case CaptureRequest(routes, resolver, unreachable):
            return Done(tuple(door.capture(routes, resolver, unreachable)))
        case ReleaseRequest():
            return Done(tuple(door.release()))


def _send(client: socket.socket, data: bytes, descriptors: list[int]) -> None:
    rights = array.array("i", descriptors)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
    client.sendmsg([data], ancillary)


def _inherited() -> socket.socket:
    """The socket that the client gave us. Raises RemoteProtocolError where it is none of its."""
    try:
        client = socket.socket(fileno=os.dup(0))
        pair = client.family == socket.AF_UNIX and client.type == socket.SOCK_SEQPACKET
        # Both ends of a pair are without a name: whoever listens under one, others could reach.
        private = pair and not client.getsockname() and not client.getpeername()
    except OSError as error:
        raise RemoteProtocolError("the helper was started without its socket") from error
    if not private:
        raise RemoteProtocolError("the helper was started with a socket that is not a pair's")
    client.setblocking(True)
    return client


def _check_peer(client: socket.socket, caller: int) -> None:
    """Whoever made the pair has to be who started us, not one who left it lying about."""
    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid != caller:
        raise RemoteProtocolError(f"the helper was started with a socket of uid {uid}")


def _leave_surroundings() -> None:
    """Terminal, directory, environment, streams and signals are the caller's, and not for us."""
    with suppress(PermissionError):  # the leader of a process group has its session already
        os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
    os.chdir("/")
    os.environ.clear()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


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
