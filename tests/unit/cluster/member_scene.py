"""Members of a mesh with the lab's API server, but for their connections to the router's pods."""

import asyncio
from contextlib import asynccontextmanager
from itertools import count

from lab_cluster import open_cluster

from ktnet.cluster.exchange.exposure import ExposedPort, parse_exposures
from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.mesh.router_manifests import plan_ports
from ktnet.session import mesh_member
from ktnet.session.cluster import Cluster
from ktnet.session.mesh import MeshOptions
from ktnet.session.mesh_member import Member, MeshPlan
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.stream.ledger import Ledger
from ktnet.wire.meshrecord import build_selector, parse_record

KINDS = (
    *("deployments", "services", "serviceaccounts", "roles", "rolebindings"),
    *("poddisruptionbudgets", "leases"),
)
SELECTOR = {"app": "tomcat", "tier": "web"}
_NUMBERS = count()


class Quiet:
    def __getattr__(self, _name):
        return lambda *_: None


class NoAttachments:
    async def wait_attached(self, *_):
        await asyncio.sleep(0)

    async def leave(self):
        await asyncio.sleep(0)


def leave_pods_out(monkeypatch):
    @asynccontextmanager
    async def open_attachments(*_):
        yield NoAttachments()

    async def wait_until_routing(*_):
        await asyncio.sleep(0)

    monkeypatch.setattr(mesh_member, "open_attachments", open_attachments)
    monkeypatch.setattr(mesh_member, "wait_until_routing", wait_until_routing)
    monkeypatch.setattr("ktnet.cluster.mesh.router._LOOK_INTERVAL_S", 0.01)


def add_service(cluster):
    spec = {"selector": SELECTOR, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return cluster.store.create("services", "demo", {"metadata": {"name": "tomcat"}, "spec": spec})


def build_plan(service, value):
    options = MeshOptions(
        *(ClusterOptions(), ShadowOptions(), "service/tomcat"),
        *(parse_exposures("8080"), "version", value),
    )
    ports = plan_ports(service, {})
    return MeshPlan(options, Subject("services", service), (ExposedPort(8080, 1),), ports)


def build_member(api, service, value):
    name = f"tomcat-mesh-{value}-{next(_NUMBERS)}"
    return Member(Cluster(api, "demo"), build_plan(service, value), name, Quiet(), Ledger())


def read_state(cluster):
    def keep(obj):
        metadata = obj["metadata"]
        kept = {key: metadata.get(key) for key in ("name", "labels", "uid")}
        return {**obj, "metadata": kept | {"annotations": metadata.get("annotations") or {}}}

    return {kind: [keep(obj) for obj in cluster.store.list(kind, "demo")] for kind in KINDS}


def assert_routed(cluster, member):
    """The Service leads to a router that is there, and the member is in the list."""
    service = cluster.store.get("services", "demo", "tomcat")
    _, record = parse_record(service)
    assert record.find(member.name) is not None
    assert service["spec"]["selector"] == build_selector(record.router)
    router = cluster.store.get("deployments", "demo", record.router)
    assert "deletionTimestamp" not in router["metadata"]
    assert router["spec"]["replicas"] == 2


async def until_gone(cluster, before):
    async with asyncio.timeout(10):
        while True:
            if read_state(cluster) == before:
                return
            await asyncio.sleep(0.01)


def run(scenario, limit_s=100):
    async def main():
        async with asyncio.timeout(limit_s), open_cluster() as cluster:
            await scenario(cluster)

    asyncio.run(main())
