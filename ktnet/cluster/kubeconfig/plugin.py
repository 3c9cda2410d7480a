"""Runs an exec plugin: a program of the user's that logs in and prints credentials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ktnet.cluster.answers import one_line
from ktnet.cluster.kubeconfig.execcredential import (
    ExecCredential,
    build_exec_info,
    parse_exec_credential,
)
from ktnet.cluster.kubeconfig.model import Cluster, ExecPlugin
from ktnet.errors import ClusterUnreachable, UsageError

INTERACTIVE_TIMEOUT_S = 300.0
"""For somebody to log in, perhaps in a browser and with a second factor."""

_OUTPUT_LIMIT = 1 << 20
_COMPLAINT_LIMIT = 64 << 10
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
    complaint = bytearray()
    try:
        async with (
            _open_process(plugin, name, info, interactive=interactive) as process,
            asyncio.timeout(limit_s),
        ):
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(_read_output(process.stdout))
                tasks.create_task(_read_complaint(process.stderr, complaint))
            output = reading.result()
            code = await process.wait()
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
        if output is None:
            raise ValueError("what it printed is too long")  # noqa: TRY301  one message
        return parse_exec_credential(output, plugin.api_version)
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
    plugin: ExecPlugin, name: str, info: str, *, interactive: bool
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The plugin, running; when the context is left it has ended, with all that it started."""
    environment = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": info}
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            env=environment,
            stdin=None if interactive else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Whoever talks with the user has to stay in the terminal's session.
            start_new_session=not interactive,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"the exec plugin {plugin.command} can't be started: {why}",
            hint=one_line(plugin.install_hint) or f"is {name} installed, and in $PATH?",
        ) from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            if interactive:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _read_output(stream: asyncio.StreamReader | None) -> bytes | None:
    """All of it; None where that is too much."""
    output = bytearray()
    while stream is not None and (part := await stream.read(1 << 16)):
        if len(output) <= _OUTPUT_LIMIT:
            output += part
    return bytes(output) if len(output) <= _OUTPUT_LIMIT else None


async def _read_complaint(stream: asyncio.StreamReader | None, complaint: bytearray) -> None:
    watched = sys.stderr is not None and sys.stderr.isatty()
    while stream is not None and (part := await stream.read(1 << 12)):
        complaint += part
        del complaint[:-_COMPLAINT_LIMIT]
        if watched:
            with contextlib.suppress(OSError):
                sys.stderr.buffer.write(part)
                sys.stderr.buffer.flush()


def _quote(complaint: bytearray) -> str:
    """Its last words, which is where a traceback or a chain of causes has the cause."""
    words = one_line(" ".join(complaint.decode(errors="replace").split())[-_QUOTED:])
    return f": {words}" if words else "; it said nothing on stderr"
