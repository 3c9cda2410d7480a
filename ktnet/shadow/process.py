"""The shadow's process: listen, publish the host key, serve, and end with the right code."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import asyncssh

from ktnet.shadow.arguments import Arguments, ExposedPort, parse_arguments
from ktnet.shadow.destinations import Origin
from ktnet.shadow.hostkey import build_public_key, new_host_key, run_repetition
from ktnet.shadow.inbound import Exposable
from ktnet.shadow.lifetime import EXIT_SESSION_OVER, EXIT_TERMINATED
from ktnet.shadow.log import EventLog, take_over_logging, take_over_loop, write_to_stdout
from ktnet.shadow.resolver import Resolver, parse_nameservers
from ktnet.shadow.server import Shadow, open_server
from ktnet.stream.garbage import spare_what_stays
from ktnet.stream.limits import raise_descriptor_limit
from ktnet.stream.loop import run as run_loop
from ktnet.wire.shadow import build_host_key_line

DRAIN_TIMEOUT_S = 5.0
"""For flows to end by themselves after SIGTERM; a pod has 30 s where its spec says nothing."""

ACCEPT_ON_S = 3.0
"""How long callers may still come after SIGTERM: the nodes hear of it as we do, and each takes its
time to send them elsewhere."""

CALLERS_TIMEOUT_S = 20.0
"""For callers to end by themselves; together within `ktnet.cluster.shadow.manifests`' grace."""

EXIT_CANNOT_LISTEN = 1

RESOLV_CONF = Path("/etc/resolv.conf")


def main() -> int:
    """The exit code of the process."""
    arguments = parse_arguments(sys.argv[1:])
    host_key = new_host_key()
    log = EventLog(build_host_key_line(build_public_key(host_key)), write_to_stdout)
    take_over_logging(log)
    raise_descriptor_limit()
    spare_what_stays()
    try:
        return run_loop(run_shadow(arguments, host_key, log))
    except OSError as error:
        log.event("cannot listen", address=arguments.bind, port=arguments.port, reason=error)
        return EXIT_CANNOT_LISTEN


async def run_shadow(arguments: Arguments, host_key: asyncssh.SSHKey, log: EventLog) -> int:
    """Serve until the session is over or SIGTERM comes; the exit code. OSError: can't listen."""
    loop = asyncio.get_running_loop()
    take_over_loop(log, loop)
    end: asyncio.Future[int] = loop.create_future()

    def finish(code: int) -> None:
        if not end.done():
            end.set_result(code)

    # A process with number 1, as in a container, is killed by no signal it does not handle.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, finish, EXIT_TERMINATED)

    group = asyncio.TaskGroup()
    resolver = Resolver(parse_nameservers(_read_resolv_conf()))
    shadow = Shadow(
        arguments.authorized_key,
        resolver,
        log,
        group,
        exposables=tuple(_build_exposable(each, group) for each in arguments.exposed),
        expose_bind=arguments.expose_bind,
        health_port=arguments.health_port,
    )
    async with open_server(shadow, host_key, arguments.bind, arguments.port) as acceptor, group:
        # In this order: whoever has read the host key may connect at once.
        log.host_key()
        log.event("listening", address=arguments.bind, port=acceptor.get_port())
        shadow.inbound.start()
        repetition = group.create_task(run_repetition(log))
        idle = group.create_task(_end_when_idle(shadow, arguments, finish))
        code = await end
        acceptor.close()
        log.event("session over" if code == EXIT_SESSION_OVER else "terminating")
        if code == EXIT_TERMINATED or arguments.restorable is not None:
            await shadow.inbound.drain(ACCEPT_ON_S, CALLERS_TIMEOUT_S)
        else:
            await shadow.inbound.drain(0, 0)
        await shadow.drain(DRAIN_TIMEOUT_S)
        repetition.cancel()
        idle.cancel()
    return code


async def _end_when_idle(
    shadow: Shadow, arguments: Arguments, finish: Callable[[int], None]
) -> None:
    if arguments.restorable is not None:
        # httptools is 2 MiB and some 10 ms, for those shadows alone that need it.
        from ktnet.shadow.restoring import open_restorer  # noqa: PLC0415

        restorer = open_restorer(arguments.restorable, shadow.log)
        restores = restorer is not None and await restorer.arm()
        shadow.log.arming(restores=restores)
        if restorer is None or not restores:
            # It stands in others' place until somebody undoes that.
            return
        await restorer.run(shadow.attendance, arguments.idle_s)
    elif arguments.idle_s != math.inf:
        await shadow.attendance.wait_idle(arguments.idle_s)
    else:
        return
    finish(EXIT_SESSION_OVER)


def _build_exposable(exposed: ExposedPort, tasks: asyncio.TaskGroup) -> Exposable:
    origin = Origin(*exposed.origin) if exposed.origin is not None else None
    return Exposable(exposed.number, origin, exposed.always)


def _read_resolv_conf() -> str:
    try:
        return RESOLV_CONF.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
