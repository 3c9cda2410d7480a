"""The router's process: take laptops and requests, be ready, and go when nobody needs it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

import asyncssh

from ktnet.shadow.api.account import find_account
from ktnet.shadow.api.answer import ApiFailed, ApiUnreachable
from ktnet.shadow.api.client import ApiClient
from ktnet.shadow.destinations import Origin
from ktnet.shadow.hostkey import build_public_key, new_host_key, run_repetition
from ktnet.shadow.lifetime import EXIT_TERMINATED
from ktnet.shadow.log import EventLog, take_over_logging, take_over_loop, write_to_stdout
from ktnet.shadow.mesh.arguments import RouterArguments, parse_router_arguments
from ktnet.shadow.mesh.attaching import RouterServer
from ktnet.shadow.mesh.closing import wait_until_needless
from ktnet.shadow.mesh.members import Members
from ktnet.shadow.mesh.readiness import open_when_attached
from ktnet.shadow.mesh.service import MeshedService
from ktnet.shadow.process import ACCEPT_ON_S, DRAIN_TIMEOUT_S, EXIT_CANNOT_LISTEN
from ktnet.shadow.resolver import Resolver
from ktnet.shadow.router.listener import RouterPort, open_router_port
from ktnet.shadow.router.table import Table
from ktnet.shadow.server import Shadow, open_server
from ktnet.stream.garbage import spare_what_stays
from ktnet.stream.limits import raise_descriptor_limit
from ktnet.stream.loop import run as run_loop
from ktnet.wire.shadow import build_host_key_line

CLOSE_TIMEOUT_S = 60.0
"""For the same when nobody needs this router any more, and nobody waits for its end."""

CLIENTS_TIMEOUT_S = 20.0
"""For requests to end by themselves after SIGTERM; together with the rest within the pod's grace
(`ktnet.cluster.mesh.router_manifests`)."""


def main(argv: Sequence[str]) -> int:
    """The exit code of the process."""
    arguments = parse_router_arguments(argv)
    host_key = new_host_key()
    log = EventLog(build_host_key_line(build_public_key(host_key)), write_to_stdout)
    take_over_logging(log)
    raise_descriptor_limit()
    spare_what_stays()
    try:
        return run_loop(run_router(arguments, host_key, log))
    except OSError as error:
        log.event("cannot listen", address=arguments.bind, reason=error)
        return EXIT_CANNOT_LISTEN


async def run_router(arguments: RouterArguments, host_key: asyncssh.SSHKey, log: EventLog) -> int:
    """Serve until SIGTERM; the exit code. OSError: can't listen."""
    loop = asyncio.get_running_loop()
    take_over_loop(log, loop)
    end = asyncio.Event()
    # A process with number 1, as in a container, is killed by no signal it does not handle.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    group = asyncio.TaskGroup()
    tables = {each.number: Table(Origin(*each.origin)) for each in arguments.ports}
    service = build_service(arguments, log) if arguments.restores else None
    members = Members(tables, log, arguments.idle_s)
    shadow = Shadow(None, Resolver(()), log, group)
    async with AsyncExitStack() as stack:
        acceptor = await stack.enter_async_context(
            open_server(
                shadow,
                host_key,
                arguments.ssh_bind,
                arguments.ssh_port,
                lambda: RouterServer(shadow, members),
            )
        )
        await stack.enter_async_context(group)
        ports = [
            await stack.enter_async_context(
                open_router_port(arguments.bind, each.number, tables[each.number], each.expected)
            )
            for each in arguments.ports
        ]
        log.host_key()
        log.event("listening", address=arguments.bind, port=acceptor.get_port())
        accompanying = [
            group.create_task(run_repetition(log)),
            group.create_task(members.run_watch()),
            group.create_task(open_when_attached(arguments, members, service, group, log)),
        ]
        if service is not None:
            accompanying.append(
                group.create_task(close(service, shadow, ports, arguments.idle_s, log))
            )
        await end.wait()
        log.event("terminating")
        for task in accompanying:
            task.cancel()
        await drain(ports, CLIENTS_TIMEOUT_S)
        acceptor.close()
        await shadow.drain(DRAIN_TIMEOUT_S)
    return EXIT_TERMINATED


def build_service(arguments: RouterArguments, log: EventLog) -> MeshedService | None:
    """The Service, where there is an account to look after it by."""
    try:
        account = find_account(os.environ)
    except ApiUnreachable as error:
        log.event("no account", reason=error)
        return None
    client = ApiClient(account)
    return MeshedService(client, arguments.namespace, arguments.service, arguments.router)


async def close(
    service: MeshedService,
    shadow: Shadow,
    ports: Sequence[RouterPort],
    idle_s: float,
    log: EventLog,
) -> None:
    """Once nobody needs this router: let its clients go elsewhere, and delete its Deployment."""
    await wait_until_needless(service, shadow.attendance, idle_s, log)
    log.event("nobody needs this router")
    await drain(ports, CLOSE_TIMEOUT_S)
    while True:
        try:
            await service.delete_router()
        except ApiFailed as error:
            log.event("cannot delete the router", reason=error)
        await asyncio.sleep(CLOSE_TIMEOUT_S)


async def drain(ports: Sequence[RouterPort], timeout_s: float) -> None:
    """Send the clients elsewhere, as far as their protocols can say so."""
    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(port.drain(timeout_s, ACCEPT_ON_S))
