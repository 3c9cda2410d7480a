"""All controllers on a real store, with a kubelet that only pretends: what clients would see."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from ktnet.lab.api.store import Store
from ktnet.lab.cluster import fill_store, run_controllers

Obj = dict[str, Any]
LABELS = {"app": "web"}


class PretendingKubelet:
    """Makes every bound pod ready at once; ends deleted pods at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._number = 2

    async def run(self) -> None:
        with self._store.watch("pods") as events:
            async for kind, pod in events:
                if kind != "DELETED" and pod["spec"].get("nodeName"):
                    self._see(pod)

    def _see(self, pod: Obj) -> None:
        meta = pod["metadata"]
        if not self._is_there(meta):
            return
        if meta.get("deletionTimestamp"):
            if meta.get("deletionGracePeriodSeconds"):
                self._store.delete("pods", meta["namespace"], meta["name"], grace_s=0)
        elif pod["status"].get("phase") == "Pending":
            self._number += 1
            self.set_status(pod, "Running", ready="True", podIP=f"10.244.0.{self._number}")

    def _is_there(self, meta: Obj) -> bool:
        """Whether it is still that pod: an event tells what was, and it may be gone by now."""
        namespace, name = meta["namespace"], meta["name"]
        return self._store.has("pods", namespace, name) and (
            self._store.get("pods", namespace, name)["metadata"]["uid"] == meta["uid"]
        )

    def set_status(self, pod: Obj, phase: str, *, ready: str, **fields: Any) -> None:
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        known = pod["status"]["conditions"]
        conditions = [c for c in known if c["type"] != "Ready"]
        status = {"phase": phase, "conditions": [*conditions, condition], **fields}
        meta = pod["metadata"]
        self._store.patch(
            "pods", meta["namespace"], meta["name"], {"status": status}, subresource="status"
        )


class Cluster:
    def __init__(self) -> None:
        self.store = Store()
        self.kubelet = PretendingKubelet(self.store)
        fill_store(self.store, "the CA")

    def names(self, plural: str, namespace: str = "default") -> list[str]:
        return [each["metadata"]["name"] for each in self.store.list(plural, namespace)]

    async def until(self, holds: Callable[[], bool], *, within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110 -- what it asks for changes without telling
                await asyncio.sleep(0.005)

    def create(self, plural: str, obj: Obj) -> Obj:
        return self.store.create(plural, "default", obj)


@contextlib.asynccontextmanager
async def open_cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(run_controllers(cluster.store, "the CA")),
            tasks.create_task(cluster.kubelet.run()),
        ]
        yield cluster
        for task in running:
            task.cancel()


def in_cluster(scenario: Callable[[Cluster], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with open_cluster() as cluster:
            await scenario(cluster)

    asyncio.run(run())


def build_pod_spec(restart: str = "Always") -> Obj:
    return {"restartPolicy": restart, "containers": [{"name": "main", "image": "x:1"}]}


def build_deployment(replicas: int = 1) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": build_pod_spec()},
        },
    }


def build_service() -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": LABELS, "ports": [{"port": 80}]},
    }


def build_job(**spec: Any) -> Obj:
    template = {"metadata": {"labels": LABELS}, "spec": build_pod_spec("OnFailure")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {"template": template, **spec},
    }


def owned_by(owner: Obj, kind: str, name: str) -> Obj:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "ownerReferences": [reference]},
    }


def test_a_deployment_becomes_endpoints_and_scales() -> None:
    async def scenario(cluster: Cluster) -> None:
        store = cluster.store
        cluster.create("services", build_service())
        cluster.create("deployments", build_deployment(2))

        def addresses() -> int:
            slices = store.list("endpointslices", "default", {"kubernetes.io/service-name": "web"})
            return sum(len(each.get("endpoints") or []) for each in slices)

        await cluster.until(lambda: addresses() == 2)
        await cluster.until(
            lambda: (
                store.get("deployments", "default", "web")["status"].get("availableReplicas") == 2
            )
        )
        assert len(store.get("endpoints", "default", "web")["subsets"][0]["addresses"]) == 2
        store.patch("deployments", "default", "web", {"spec": {"replicas": 0}}, subresource="scale")
        await cluster.until(lambda: not cluster.names("pods"))
        await cluster.until(lambda: addresses() == 0)
        await cluster.until(
            lambda: "replicas" not in store.get("deployments", "default", "web")["status"]
        )
        assert len(cluster.names("replicasets")) == 1

    in_cluster(scenario)


def test_a_statefulset_becomes_endpoints_with_names_and_goes_with_its_revisions() -> None:
    async def scenario(cluster: Cluster) -> None:
        store = cluster.store
        cluster.create("services", build_service())
        spec = {**build_deployment(2)["spec"], "serviceName": "web"}
        cluster.create("statefulsets", {"metadata": {"name": "web"}, "spec": spec})

        def names() -> list[str]:
            slices = store.list("endpointslices", "default", {"kubernetes.io/service-name": "web"})
            return sorted(end["hostname"] for each in slices for end in each["endpoints"] or [])

        await cluster.until(lambda: names() == ["web-0", "web-1"])
        await cluster.until(
            lambda: store.get("statefulsets", "default", "web")["status"].get("readyReplicas") == 2
        )
        assert cluster.names("pods") == ["web-0", "web-1"]
        assert len(cluster.names("controllerrevisions")) == 1
        store.delete("statefulsets", "default", "web", propagation="Background")
        await cluster.until(lambda: not cluster.names("pods"))
        await cluster.until(lambda: not cluster.names("controllerrevisions"))

    in_cluster(scenario)


def test_deleting_a_deployment_takes_its_pods() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.create("deployments", build_deployment())
        await cluster.until(lambda: bool(cluster.names("pods")))
        cluster.store.delete("deployments", "default", "web")
        await cluster.until(
            lambda: not (cluster.names("pods") or cluster.names("replicasets")), within_s=1
        )

    in_cluster(scenario)


def test_only_a_pod_with_the_hash_is_adopted_and_then_surplus() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.create("deployments", build_deployment())
        await cluster.until(lambda: bool(cluster.names("pods")))
        (own,) = cluster.store.list("pods", "default")
        bare = {"apiVersion": "v1", "kind": "Pod", "spec": build_pod_spec()}
        cluster.create("pods", {**bare, "metadata": {"name": "bare", "labels": LABELS}})
        hashed = {"name": "hashed", "labels": own["metadata"]["labels"]}
        cluster.create("pods", {**bare, "metadata": hashed})
        await cluster.until(lambda: "hashed" not in cluster.names("pods"))
        assert cluster.names("pods") == ["bare", own["metadata"]["name"]]

    in_cluster(scenario)


def test_a_job_completes_and_goes_with_what_it_owns() -> None:
    async def scenario(cluster: Cluster) -> None:
        job = cluster.create("jobs", build_job(ttlSecondsAfterFinished=0))
        cluster.create("secrets", owned_by(job, "Secret", "mine"))
        await cluster.until(lambda: bool(cluster.names("pods")))
        (pod,) = cluster.store.list("pods", "default")
        assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
        await cluster.until(
            lambda: cluster.store.list("pods", "default")[0]["status"].get("phase") == "Running"
        )
        seen: list[Obj] = []
        with cluster.store.watch("jobs", "default") as events:
            cluster.kubelet.set_status(
                cluster.store.list("pods", "default")[0], "Succeeded", ready="False"
            )
            async with asyncio.timeout(5):
                async for kind, obj in events:
                    seen.append(obj)
                    if kind == "DELETED":
                        break
        await cluster.until(lambda: not (cluster.names("pods") or cluster.names("secrets")))
        assert [each["type"] for each in seen[-1]["status"]["conditions"]] == [
            "SuccessCriteriaMet",
            "Complete",
        ]
        assert any(
            each["status"].get("uncountedTerminatedPods", {}).get("succeeded") for each in seen
        )
        assert seen[-1]["metadata"]["finalizers"] == ["foregroundDeletion"]

    in_cluster(scenario)


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ("Background", []),
        ("Foreground", []),
        ("Orphan", ["pod", "secret"]),
        (None, ["pod", "secret"]),
    ],
)
def test_propagation_of_a_jobs_deletion(policy: str | None, left: list[str]) -> None:
    async def scenario(cluster: Cluster) -> None:
        job = cluster.create("jobs", build_job())
        cluster.create("secrets", owned_by(job, "Secret", "mine"))
        await cluster.until(lambda: bool(cluster.names("pods")))
        cluster.store.delete("jobs", "default", "job", propagation=policy)

        def remaining() -> list[str]:
            pods = [
                p
                for p in cluster.store.list("pods", "default")
                if "finalizers" not in p["metadata"]
            ]
            return ["pod"] * len(pods) + ["secret"] * len(cluster.names("secrets"))

        await cluster.until(lambda: not cluster.names("jobs") and remaining() == left, within_s=1)
        for plural in ("pods", "secrets"):
            for obj in cluster.store.list(plural, "default"):
                assert "ownerReferences" not in obj["metadata"]

    in_cluster(scenario)


@pytest.mark.parametrize(
    ("plural", "obj", "kind", "component"),
    [
        ("jobs", build_job(), "Job", "job-controller"),
        ("deployments", build_deployment(), "ReplicaSet", "replicaset-controller"),
    ],
)
def test_pods_that_are_refused_are_told_of(
    plural: str, obj: Obj, kind: str, component: str
) -> None:
    """As recorded in 09-podsecurity/deployment-offending-events; and when it is allowed, it goes
    on."""

    async def scenario(cluster: Cluster) -> None:
        level = "pod-security.kubernetes.io/enforce"
        labels = {"metadata": {"labels": {level: "restricted"}}}
        cluster.store.patch("namespaces", None, "default", labels)
        cluster.create(plural, obj)
        await cluster.until(
            lambda: any(each["count"] > 1 for each in cluster.store.list("events", "default"))
        )
        (event,) = cluster.store.list("events", "default")
        assert event["involvedObject"]["kind"] == kind
        assert event["reason"] == "FailedCreate"
        assert event["source"] == {"component": component}
        assert event["type"] == "Warning"
        said = 'is forbidden: violates PodSecurity "restricted:latest": '
        assert event["message"].startswith('Error creating: pods "')
        assert said in event["message"]
        cluster.store.patch("namespaces", None, "default", {"metadata": {"labels": {level: None}}})
        await cluster.until(lambda: cluster.names("pods") != [])

    in_cluster(scenario)


def test_an_owner_that_never_was_is_an_owner_gone() -> None:
    async def scenario(cluster: Cluster) -> None:
        ghost = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "g", "uid": "none"}}
        taken_s = []
        for _ in range(5):
            start_s = time.monotonic()
            cluster.create("secrets", owned_by(ghost, "Secret", "lost"))
            await cluster.until(lambda: "lost" not in cluster.names("secrets"))
            taken_s.append(time.monotonic() - start_s)
        # Recorded as gone after 0.1 s. The fastest of several: a busy machine slows some of them,
        # a back-off would slow each.
        assert min(taken_s) < 0.1

    in_cluster(scenario)


def test_services_without_selector_keep_their_endpoints() -> None:
    async def scenario(cluster: Cluster) -> None:
        store = cluster.store
        cluster.create("services", build_service())
        cluster.create("deployments", build_deployment())

        def endpoints() -> list[Obj]:
            slices = store.list("endpointslices", "default", {"kubernetes.io/service-name": "web"})
            return [endpoint for each in slices for endpoint in each.get("endpoints") or []]

        await cluster.until(lambda: len(endpoints()) == 1)
        store.patch("services", "default", "web", {"spec": {"selector": None}})
        store.delete("deployments", "default", "web")
        await cluster.until(lambda: not cluster.names("pods"))
        assert len(endpoints()) == 1
        store.patch("services", "default", "web", {"spec": {"selector": {"app": "other"}}})
        await cluster.until(lambda: not endpoints())
        store.delete("services", "default", "web")
        await cluster.until(lambda: cluster.names("endpointslices") == ["kubernetes"])
        assert cluster.names("endpoints") == ["kubernetes"]

    in_cluster(scenario)


def test_namespaces_are_filled_and_emptied() -> None:
    async def scenario(cluster: Cluster) -> None:
        store = cluster.store
        store.create(
            "namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
        )
        await cluster.until(lambda: cluster.names("configmaps", "n") == ["kube-root-ca.crt"])
        assert cluster.names("serviceaccounts", "n") == ["default"]
        store.create("deployments", "n", build_deployment())
        await cluster.until(lambda: bool(cluster.names("pods", "n")))
        store.delete("namespaces", None, "n")
        await cluster.until(
            lambda: "n" not in [each["metadata"]["name"] for each in store.list("namespaces")]
        )
        assert cluster.names("pods", "n") == []

    in_cluster(scenario)
