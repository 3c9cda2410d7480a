"""`ktnet exec`: make the sandbox, open the session, run the command, end as it did."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ktnet.commands.answers import Answers, describe_asked
from ktnet.commands.events import note_warnings
from ktnet.commands.options import (
    capture_options,
    cluster_options,
    shadow_options,
    silent_progress_options,
)
from ktnet.commands.progress import Progress
from ktnet.errors import Interrupted, KtnetError
from ktnet.session.options import ClusterOptions, ConnectOptions, ShadowOptions
from ktnet.stream.loop import run as run_loop
from ktnet.tasks import open_tasks

if TYPE_CHECKING:
    from ktnet.host.sandbox import Sandbox
    from ktnet.session.running import Running

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
FORWARDED = ENDING | {signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGALRM}

_SI_KERNEL = 0x80
"""si_code of sigaction(2): of a terminal's signals, which the command has got by itself."""


@click.command()
@cluster_options
@shadow_options
@capture_options
@silent_progress_options
@click.argument("command", metavar="-- CMD [ARG]...", nargs=-1, required=True)
def exec(  # noqa: A001  (named as the command is)
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    capture: dict[str, Any],
    progress: Progress,
    command: tuple[str, ...],
) -> None:
    """Run CMD in a network of its own that is joined to the cluster's.

    CMD and what it starts see the cluster; nothing else on this machine does, nothing of it is
    changed, and no right of it is needed. What isn't the cluster's goes out as from this machine.
    Ends as CMD does.

    \b
      ktnet exec -n demo -- curl http://tomcat
    """
    from ktnet.host.privileges import SETFCAP, step_down
    from ktnet.host.sandbox import spawn_sandbox

    step_down(also=[SETFCAP])
    # Before all else: it wants a process of one thread, and may well be forbidden.
    sandbox = spawn_sandbox(command)
    options = ConnectOptions(cluster=cluster, shadow=shadow, **capture)
    try:
        status = run_loop(_Execution(options, sandbox, progress).run())
    finally:
        os.close(sandbox.tun_fd)
    _end_like(status)


class _Execution:
    def __init__(self, options: ConnectOptions, sandbox: Sandbox, progress: Progress) -> None:
        self._options = options
        self._sandbox = sandbox
        self._progress = progress
        self._opening: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._session: Running | None = None
        self._described = describe_asked("exec", options.cluster)

    async def run(self) -> int:
        """The command's status, as waitpid(2) gives it."""
        with note_warnings(self._progress.events):
            return await self._run()

    async def _run(self) -> int:
        from ktnet.control import open_control
        from ktnet.session.exec import open_exec_session

        answers = Answers(self._progress.events, lambda: self._session)
        self._opening = asyncio.current_task()
        _follow_signals(asyncio.get_running_loop(), self._take_signal)
        try:
            async with (
                open_control(self._describe, self._disconnect, answers.handlers),
                open_exec_session(self._options, self._sandbox, self._progress) as (
                    session,
                    resolv_conf,
                ),
            ):
                self._opening, self._session = None, session
                self._progress.ready("the command runs")
                self._sandbox.start(resolv_conf)
                return await self._run_command(session)
        except asyncio.CancelledError:
            if self._interrupted:
                raise Interrupted("interrupted before the command could run") from None
            raise
        finally:
            self._session = None
            self._sandbox.give_up()

    async def _run_command(self, session: Running) -> int:
        try:
            async with open_tasks() as tasks:
                tasks.create_task(session.watch(), name="watch the session")
                return await _wait_for(self._sandbox.pid)
        except KtnetError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._sandbox.pid, signal.SIGTERM)
            raise

    def _take_signal(self, number: signal.Signals, from_terminal: bool) -> None:
        if self._session is not None:
            if not from_terminal:
                self._send(number)
        elif number in ENDING and self._opening is not None and not self._interrupted:
            self._interrupted = True
            self._opening.cancel()

    def _disconnect(self) -> None:
        self._take_signal(signal.SIGTERM, False)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._sandbox.pid, number)

    def _describe(self) -> dict[str, Any]:
        if self._session is None:
            return {**self._described, "state": "connecting"}
        return {**self._described, "state": "connected", **self._session.describe()}


def _follow_signals(
    loop: asyncio.AbstractEventLoop, take: Callable[[signal.Signals, bool], None]
) -> None:
    """Call `take` in the loop with each signal, and with whether a terminal has sent it.

    By a thread that waits for them: a handler isn't told where a signal comes from, and a command
    that shares our terminal has got Ctrl-C already.
    """
    # By nohup(1); ignored by the command as well.
    followed = {each for each in FORWARDED if signal.getsignal(each) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, followed)

    def follow() -> None:
        while True:
            info = signal.sigwaitinfo(followed)
            number, of_terminal = signal.Signals(info.si_signo), info.si_code == _SI_KERNEL
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to end
                loop.call_soon_threadsafe(take, number, of_terminal)

    threading.Thread(target=follow, name="signals", daemon=True).start()


async def _wait_for(pid: int) -> int:
    """Until this child ends: its status, as waitpid(2) gives it."""
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return os.waitpid(pid, 0)[1]  # noqa: ASYNC222  (it has ended)


def _end_like(status: int) -> NoReturn:
    """Exit with the command's code, or by the signal that has ended it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    # The core, if any, was the command's.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # SIGKILL has no other
        signal.signal(-code, signal.SIG_DFL)
    # To this thread: the one that follows signals would take it.
    signal.pthread_kill(threading.get_ident(), -code)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
    sys.exit(128 - code)  # it was one that doesn't end a process
