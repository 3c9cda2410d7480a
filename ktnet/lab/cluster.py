"""The cluster's own objects, and the controllers that keep them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from ktnet.lab import objects, topology
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.deployment import DeploymentController
from ktnet.lab.controllers.disruption import DisruptionController
from ktnet.lab.controllers.endpoints import EndpointsController
from ktnet.lab.controllers.garbage import GarbageCollector
from ktnet.lab.controllers.job import JobController
from ktnet.lab.controllers.kind import Obj, format_time, is_ready_pod
from ktnet.lab.controllers.loop import Controller, run_controller
from ktnet.lab.controllers.namespace import NamespaceController
from ktnet.lab.controllers.quota import QuotaController
from ktnet.lab.controllers.replicaset import ReplicaSetController
from ktnet.lab.controllers.scheduler import Scheduler
from ktnet.lab.controllers.statefulset import StatefulSetController
from ktnet.lab.controllers.ttl import TtlController
from ktnet.lab.proxy import Proxy


def utc_now() -> datetime:
    return datetime.now(UTC)


def build_controllers(store: Store, ca_pem: str) -> list[Controller]:
    """All of them; `ca_pem` is what goes into each namespace's kube-root-ca.crt."""
    return [
        NamespaceController(store, ca_pem, utc_now),
        DeploymentController(store, utc_now),
        ReplicaSetController(store, utc_now),
        StatefulSetController(store, utc_now),
        JobController(store, utc_now),
        TtlController(store, utc_now),
        Scheduler(store, utc_now),
        EndpointsController(store, utc_now),
        DisruptionController(store, utc_now),
        QuotaController(store),
        GarbageCollector(store),
    ]


async def run_controllers(store: Store, ca_pem: str) -> None:
    """Runs all controllers until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for controller in build_controllers(store, ca_pem):
            tasks.create_task(run_controller(store, controller))


def fill_store(store: Store, ca_pem: str) -> None:
    """Puts into a new store what every cluster has, and the demo namespace."""
    node = store.create("nodes", None, objects.build_node(format_time(utc_now())))
    status = objects.build_node(format_time(utc_now()))["status"]
    store.update(
        "nodes", None, topology.NODE_NAME, {**node, "status": status}, subresource="status"
    )
    namespaces = NamespaceController(store, ca_pem, utc_now)
    for namespace in objects.build_namespaces():
        store.create("namespaces", None, namespace)
        # A pod needs its namespace's ServiceAccount, now and not when the controller gets to it.
        namespaces.reconcile((None, namespace["metadata"]["name"]))
    for plural, obj in (*objects.build_system_objects(), *objects.build_demo_objects()):
        store.create(plural, obj["metadata"]["namespace"], obj)


async def wait_until_demo_serves(store: Store, proxy: Proxy) -> None:
    """Until every pod of the demo is ready and the node leads to all of them."""
    with store.watch("pods", objects.DEMO) as changes:
        async for _ in changes:
            pods = store.list("pods", objects.DEMO)
            if len(pods) == objects.DEMO_PODS and all(is_ready_pod(pod) for pod in pods):
                break
    await proxy.wait_until(
        lambda ports: (
            {
                port.label.split(":")[0]: len(port.endpoints)
                for port in ports
                if port.label.startswith(f"{objects.DEMO}/")
            }
            == objects.SERVED_PODS
        )
    )


def list_pods(store: Store) -> list[Obj]:
    """What `ktnet lab status` says about pods."""
    return [
        {
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "phase": pod["status"].get("phase"),
            "ready": is_ready_pod(pod),
            "address": pod["status"].get("podIP"),
        }
        for pod in store.list("pods")
    ]
