"""Two processes, of which one does the work and the other mends should that one be killed.

The client may have given up the rights to start a second helper, or would have to ask for a
password again; so whoever can mend is there from the start. Should the supervisor itself be killed,
the worker undoes everything and ends. Both hold the client's socket: it ends for the client when
everything is undone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from ktnet.host.privileges import end_with_parent

UNDO_TIME_S = 10.0
"""For the worker to end once its client has gone: it takes milliseconds, unless the disk hangs."""


def supervise(client: socket.socket, work: Callable[[], None], mend: Callable[[], None]) -> None:
    """Fork; `work` there, and `mend` here if that fails or is killed. Exits with 0 where all is
    undone."""
    supervisor = os.getpid()
    worker = os.fork()
    if worker == 0:
        _work(supervisor, work)
    code = _wait(client, worker)
    if code != 0:
        mend()
    sys.exit(0)


def _work(supervisor: int, work: Callable[[], None]) -> None:
    """`work`, in a process that never returns."""
    code = 1
    try:
        end_with_parent(signal.SIGTERM)
        if os.getppid() == supervisor:
            work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(client: socket.socket, worker: int) -> int:
    """The worker's exit code; it is killed where it stays long after its client."""
    ended = os.pidfd_open(worker)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(client, select.POLLRDHUP)
    ready = {descriptor for descriptor, _ in poll.poll()}
    if ended not in ready:
        poll.unregister(client)
        if not poll.poll(UNDO_TIME_S * 1000):
            os.kill(worker, signal.SIGKILL)
    os.close(ended)
    _, status = os.waitpid(worker, 0)
    return os.waitstatus_to_exitcode(status)
