"""Runs an exec plugin: a program of the user's that logs in and prints credentials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from ktnet.cluster.kubeconfig.execcredential import (
    ExecCredential,
    build_exec_info,
    parse_exec_credential,
)
from ktnet.cluster.kubeconfig.model import Cluster, ExecPlugin
from ktnet.cluster.server.answers import one_line
from ktnet.errors import ClusterUnreachable, UsageError

INTERACTIVE_TIMEOUT_S = 300.0
"""For somebody to log in, perhaps in a browser and with a second factor."""

_OUTPUT_LIMIT = 1 << 20
_COMPLAINT_LIMIT = 64 << 10
_LAST_WORDS_S = 0.5
"""For what it has written to be read, once it has ended."""
_QUOTED = 300
"""Characters of a plugin's last words that are worth a line."""


async def run_plugin(
    plugin: ExecPlugin, cluster: Cluster, authority: bytes, timeout_s: float
) -> ExecCredential:
    """New credentials from the plugin, which has `timeout_s` unless somebody can talk with it.

    Its stderr is shown as it comes where somebody watches (it may say which page to open), and
    quoted where it fails. Raises UsageError where it can't be started, ClusterUnreachable where
    it fails, hangs or prints anything but credentials.
    """
    name = os.path.basename(plugin.command)  # noqa: PTH119  text, not a file
    interactive = _is_interactive(plugin, name)
    info = build_exec_info(
        plugin.api_version,
        interactive=interactive,
        cluster=cluster if plugin.provide_cluster_info else None,
        authority=authority,
    )
    limit_s = INTERACTIVE_TIMEOUT_S if interactive else timeout_s
    output, complaint = bytearray(), bytearray()
    try:
        async with (
            _open_pipe(partial(_keep_first, output)) as (stdout, output_end),
            _open_pipe(partial(_keep_last, complaint)) as (stderr, complaint_end),
            asyncio.timeout(limit_s),
        ):
            async with _open_process(
                plugin, name, info, stdout, stderr, interactive=interactive
            ) as process:
                code = await process.wait()
            # What it started may hold the pipes for longer, such as a daemon that keeps a login.
            await asyncio.wait([output_end, complaint_end], timeout=_LAST_WORDS_S)
    except TimeoutError:
        raise ClusterUnreachable(
            f"the exec plugin {name} gave no credentials within {limit_s:g} s{_quote(complaint)}",
            hint="does kubectl work? It asks the same plugin",
        ) from None
    if code != 0:
        raise ClusterUnreachable(
            f"the exec plugin {name} failed with exit code {code}{_quote(complaint)}",
            hint="does kubectl work? It asks the same plugin",
        )
    try:
        if len(output) > _OUTPUT_LIMIT:
            raise ValueError("what it printed is too long")  # noqa: TRY301  one message
        return parse_exec_credential(bytes(output), plugin.api_version)
    except ValueError as error:
        raise ClusterUnreachable(
            f"the exec plugin {name} gave no credentials: {error}{_quote(complaint)}"
        ) from error


def _is_interactive(plugin: ExecPlugin, name: str) -> bool:
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not terminal:
        raise UsageError(f"the exec plugin {name} needs a terminal, and stdin is none")
    return terminal and plugin.interactive_mode != "Never"


@asynccontextmanager
async def _open_process(
    plugin: ExecPlugin, name: str, info: str, stdout: int, stderr: int, *, interactive: bool
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The plugin, running; where it still does when the context is left, it is ended, and what
    it has started with it."""
    environment = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": info}
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            env=environment,
            stdin=None if interactive else asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # Whoever talks with the user has to stay in the terminal's session.
            start_new_session=not interactive,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"the exec plugin {plugin.command} can't be started: {why}",
            hint=one_line(plugin.install_hint) or f"is {name} installed, and in $PATH?",
        ) from error
    finally:
        os.close(stdout)
        os.close(stderr)
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if interactive:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def _open_pipe(
    keep: Callable[[bytes], None],
) -> AsyncIterator[tuple[int, asyncio.Future[None]]]:
    """A pipe: the end to write to, which the caller closes, and what is done when all was read.

    Not one of asyncio's own for a process: those make its wait() last until they have ended.
    """
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.connect_read_pipe(
        lambda: _Reading(keep, end), os.fdopen(ours, "rb", buffering=0)
    )
    try:
        yield theirs, end
    finally:
        transport.close()


class _Reading(asyncio.Protocol):
    def __init__(self, keep: Callable[[bytes], None], end: asyncio.Future[None]) -> None:
        self._keep = keep
        self._end = end

    def data_received(self, data: bytes) -> None:
        self._keep(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._end.done():
            self._end.set_result(None)


def _keep_first(output: bytearray, data: bytes) -> None:
    if len(output) <= _OUTPUT_LIMIT:
        output += data


def _keep_last(complaint: bytearray, data: bytes) -> None:
    complaint += data
    del complaint[:-_COMPLAINT_LIMIT]
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()


def _quote(complaint: bytearray) -> str:
    """Its last words, which is where a traceback or a chain of causes has the cause."""
    words = one_line(" ".join(complaint.decode(errors="replace").split())[-_QUOTED:])
    return f": {words}" if words else "; it said nothing on stderr"
