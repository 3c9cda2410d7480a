"""The process that all pods and laptops are forked from, and that they all die with.

    daemon --- python -m ktnet.lab.node.zygote --- (fork) pid 1 of the lab's pid namespace
                                                     |--- pid 1 of a container's pid namespace
                                                     |--- a command executed in a container
                                                     '--- a laptop

It is small and has one thread, so that a fork is quick and safe. When the daemon dies, however it
dies, the kernel kills its child, with that pid 1, and with that every process of the lab
(pid_namespaces(7)); their namespaces, mounts and links go with them.

It listens on a SOCK_SEQPACKET socket. A request is JSON {"id", "pid_namespace": "new" | "joined" |
"own"} with descriptors: the Launch, the pipe for complaints, stdin, stdout, stderr, then the
namespaces to join, or the pidfd of the process whose namespaces are to be joined. Answers are
{"id", "started": true} with the new process's pidfd, {"id", "failed": text}, and later {"id",
"ended": wait status}.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator

from ktnet.lab.node.child import become
from ktnet.lab.node.messages import receive_message, send_message
from ktnet.lab.node.syscalls import (
    CLONE_NEWPID,
    PR_SET_PDEATHSIG,
    prctl,
    setns,
    unshare,
)


def main() -> None:
    """Runs with a socket as standard input; arguments: the daemon's pid, a staging directory."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    requests = socket.socket(fileno=os.dup(0))
    if os.getppid() != int(sys.argv[1]):
        return  # the daemon died before this process had said that it wants to die with it
    unshare(CLONE_NEWPID)
    first = os.fork()
    if first:
        requests.close()
        os.close(0)
        os.waitpid(first, 0)
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    Zygote(requests, sys.argv[2]).serve()


class Zygote:
    """Forks on request; tells when what it forked has ended."""

    def __init__(self, requests: socket.socket, staging: str) -> None:
        self._requests = requests
        self._staging = staging
        self._ids: dict[int, int] = {}
        """Request id by process id, of what runs."""
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the daemon closes its end."""
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self._requests.fileno() in ready and not self._serve_request():
                return

    def _serve_request(self) -> bool:
        received = receive_message(self._requests)
        if received is None:
            return False
        request, descriptors = received
        try:
            self._fork(request, descriptors)
        except OSError as error:
            send_message(self._requests, {"id": request["id"], "failed": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, object], descriptors: list[int]) -> None:
        specification, complaints, stdin, stdout, stderr, *joined = descriptors
        with self._children_in(request["pid_namespace"], joined):
            process = os.fork()
        if process == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(specification, complaints, (stdin, stdout, stderr), joined, self._staging)
        request_id = request["id"]
        assert isinstance(request_id, int)  # noqa: S101 -- the daemon is our own
        self._ids[process] = request_id
        pidfd = os.pidfd_open(process)
        send_message(self._requests, {"id": request_id, "started": True}, [pidfd])
        os.close(pidfd)

    @contextlib.contextmanager
    def _children_in(self, namespace: object, joined: list[int]) -> Iterator[None]:
        """What is forked meanwhile is born into a new pid namespace, or a process's."""
        if namespace == "own":
            yield
            return
        if namespace == "new":
            unshare(CLONE_NEWPID)
        else:
            setns(joined[0], CLONE_NEWPID)
        try:
            yield
        finally:
            # Also in the child, where it changes nothing that counts: its own pid namespace is
            # settled, and it forks no more before it executes.
            with contextlib.suppress(OSError):
                setns(self._own_pid_namespace, CLONE_NEWPID)

    def _reap(self) -> None:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            request_id = self._ids.pop(process, None)
            # As pid 1, this one also reaps orphans that it never heard of.
            if request_id is not None:
                send_message(self._requests, {"id": request_id, "ended": status})


if __name__ == "__main__":
    main()
