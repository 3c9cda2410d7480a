"""The lab's daemon: the wiring diagram of a cluster in one process.

Its own network namespace is the node's; pods and laptops are child processes in namespaces of
their own, which the kernel ends with it, whatever ends it. A fork of `ktnet lab up` becomes it
(`ktnet.lab.launch`); says one line of JSON on a descriptor that it is given: {} when the lab is
ready, {"error", "hint"} where it can't be.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from ktnet.errors import KtnetError
from ktnet.lab.api.accounts import Accounts
from ktnet.lab.api.authentication import MASTERS, User
from ktnet.lab.api.server import open_api_server
from ktnet.lab.api.store import Store
from ktnet.lab.api.tls import build_certificates
from ktnet.lab.cluster import (
    fill_store,
    list_pods,
    run_controllers,
    utc_now,
    wait_until_demo_serves,
)
from ktnet.lab.control import Handler, open_control
from ktnet.lab.controllers.kind import format_time
from ktnet.lab.dns.cluster import ClusterDns, open_cluster_dns
from ktnet.lab.dns.office import OfficeDns, open_office_dns
from ktnet.lab.faults.cluster import ClusterFaults
from ktnet.lab.faults.control import ApiFaults, DnsFaults, build_fault_handler
from ktnet.lab.faults.laptops import LaptopFaults
from ktnet.lab.faults.owners import build_kill
from ktnet.lab.faults.requests import RequestFaults
from ktnet.lab.kubeconfig import USER, build_kubeconfig, write_private
from ktnet.lab.node.kubelet import Kubelet, run_kubelet
from ktnet.lab.node.laptop import Laptop, open_laptop
from ktnet.lab.node.network import POD_BRIDGE, build_node_network
from ktnet.lab.node.spawner import open_spawner
from ktnet.lab.node.syscalls import CLONE_NEWNET, CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare
from ktnet.lab.proxy import Proxy, add_service_network
from ktnet.lab.residents import end_residents, read_cookie_of
from ktnet.lab.shaping.shapers import open_shapers
from ktnet.lab.state import LabDirectory, LabState, LaptopState, identify
from ktnet.lab.topology import (
    API_NAMES,
    API_PORT,
    API_SERVICE_ADDRESS,
    DNS_POD_ADDRESS,
    DNS_PORT,
    NODE_LAN_ADDRESS,
    OFFICE_DNS_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
    laptop_address,
)
from ktnet.lab.users import Users, build_user_handler

log = logging.getLogger(__name__)


def serve(name: str, laptops: int, ready: int) -> int:
    """Runs a lab until SIGTERM; exit code 1 where it could not start or broke."""
    os.set_inheritable(ready, False)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        leave_host()
        asyncio.run(run_lab(LabDirectory(name), laptops, lambda: say(ready, {})))
    except Exception as raised:
        traceback.print_exc()
        say(ready, describe(raised))
        return 1
    return 0


def leave_host() -> None:
    """From here on this process has a network and mounts of its own: the node's."""
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def say(ready: int, what: dict[str, str]) -> None:
    """Tells `ktnet lab up`, once: later it has stopped listening."""
    try:
        os.write(ready, json.dumps(what).encode() + b"\n")
        os.close(ready)
    except OSError:
        log.info("nobody waits for the lab any more")


def describe(raised: BaseException) -> dict[str, str]:
    """What to tell the user of an exception, of the first where there are several."""
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    if isinstance(raised, KtnetError):
        return {"error": raised.message, "hint": raised.hint}
    return {"error": f"{type(raised).__name__}: {raised}"}


async def run_lab(directory: LabDirectory, laptops: int, say_ready: Callable[[], None]) -> None:
    """Everything of a lab, from the network to the pods, until SIGTERM or `shutdown`."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    token = secrets.token_urlsafe(32)
    tokens = {token: User(USER, (MASTERS,))}
    certificates = build_certificates([str(NODE_LAN_ADDRESS), str(API_SERVICE_ADDRESS), *API_NAMES])
    store = Store(service_range=SERVICE_RANGE)
    accounts = Accounts(store, utc_now)
    fill_store(store, certificates.ca_pem)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        spawner = await enter(open_spawner(directory.path))
        await build_node_network()
        await add_service_network(
            POD_BRIDGE, dns_address=DNS_POD_ADDRESS, service_range=SERVICE_RANGE
        )
        machines = [
            await enter(
                open_laptop(spawner, f"laptop-{number}", laptop_address(number), directory.path)
            )
            for number in range(1, laptops + 1)
        ]
        kubelet = Kubelet(store, spawner, accounts, machines)
        server = await enter(
            open_api_server(
                store,
                kubelet,
                address=str(NODE_LAN_ADDRESS),
                port=API_PORT,
                certificates=certificates,
                tokens=tokens,
                accounts=accounts,
                faults=RequestFaults(
                    build_kill({str(machine.address): machine.pid for machine in machines})
                ),
            )
        )
        dns = await enter(open_cluster_dns(store, address=str(DNS_POD_ADDRESS), port=DNS_PORT))
        office = await enter(open_office_dns(address=str(OFFICE_DNS_ADDRESS), port=DNS_PORT))
        proxy = Proxy(store, service_range=SERVICE_RANGE, pod_range=POD_RANGE)
        write_private(
            directory.kubeconfig,
            build_kubeconfig(
                lab=directory.name, server=server.url, ca_pem=certificates.ca_pem, token=token
            ),
        )
        state = describe_lab(machines)
        write_state(directory, state)
        users = Users(
            store,
            tokens,
            certificates,
            directory.path / "users",
            lab=directory.name,
            server=server.url,
        )
        handlers = {
            **build_handlers(directory, state, store, dns, office, proxy, ending),
            "user": build_user_handler(users),
        }
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as inner:
            addresses = {number: str(each.address) for number, each in enumerate(machines, 1)}
            faults = ApiFaults(server, addresses)
            shapers = await inner.enter_async_context(open_shapers())
            handlers["fault"] = build_fault_handler(
                faults,
                ClusterFaults(store),
                DnsFaults(dns),
                LaptopFaults(dict(enumerate(machines, 1)), tokens, shapers),
            )
            await inner.enter_async_context(open_control(directory.socket, handlers))
            running = [
                tasks.create_task(coroutine)
                for coroutine in (
                    run_controllers(store, certificates.ca_pem),
                    run_kubelet(store, kubelet),
                    proxy.run(),
                    dns.run(),
                    faults.run(),
                    announce(store, proxy, say_ready),
                )
            ]
            await ending.wait()
            # While all still runs: a `ktnet connect` on a laptop takes its objects away with it.
            cookies = [laptop.netns_cookie for laptop in state.laptops]
            holders = [laptop.holder.pid for laptop in state.laptops]
            await asyncio.to_thread(end_residents, cookies, holders)
            for task in running:
                task.cancel()


async def announce(store: Store, proxy: Proxy, say_ready: Callable[[], None]) -> None:
    await wait_until_demo_serves(store, proxy)
    say_ready()
    log.info("the lab is ready")


def describe_lab(machines: list[Laptop]) -> LabState:
    """What the lab writes down about itself."""
    return LabState(
        identify(os.getpid()),
        tuple(
            LaptopState(
                machine.name,
                str(machine.address),
                identify(machine.pid),
                read_cookie_of(machine.pid),
            )
            for machine in machines
        ),
    )


def write_state(directory: LabDirectory, state: LabState) -> None:
    """The state, and for scripts a file with the process id of each laptop."""
    directory.write_state(state)
    for laptop in state.laptops:
        write_private(directory.path / f"{laptop.name}.pid", f"{laptop.holder.pid}\n")


def build_handlers(
    directory: LabDirectory,
    state: LabState,
    store: Store,
    dns: ClusterDns,
    office: OfficeDns,
    proxy: Proxy,
    ending: asyncio.Event,
) -> dict[str, Handler]:
    """What the control socket can be asked."""
    since = format_time(utc_now())

    def status(_: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": directory.name,
            "pid": os.getpid(),
            "since": since,
            "kubeconfig": str(directory.kubeconfig),
            "laptops": [
                {"name": each.name, "address": each.address, "pid": each.holder.pid}
                for each in state.laptops
            ],
            "pods": list_pods(store),
        }

    def shutdown(_: dict[str, Any]) -> dict[str, Any]:
        ending.set()
        return {}

    def office_queries(_: dict[str, Any]) -> list[dict[str, object]]:
        return office.list_queries()

    def cluster_queries(_: dict[str, Any]) -> list[dict[str, object]]:
        return dns.list_queries()

    async def settle(_: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(proxy.settle(), dns.settle())
        return {}

    return {
        "status": status,
        "settle": settle,
        "shutdown": shutdown,
        "office-queries": office_queries,
        "cluster-queries": cluster_queries,
    }
