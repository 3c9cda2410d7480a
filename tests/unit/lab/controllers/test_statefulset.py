"""A StatefulSet's pods: in order, by name, one at a time, and what its status says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.cluster import fill_store
from ktnet.lab.controllers.kind import is_active_pod
from ktnet.lab.controllers.statefulset import StatefulSetController

Obj = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LABELS = {"app": "db"}
ORPHANED: Obj = {"metadata": {"ownerReferences": None}}


def build_statefulset(replicas: int, **spec: Any) -> Obj:
    pod = {"containers": [{"name": "main", "image": "db:1"}]}
    return {
        "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas,
            "serviceName": "names",
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
            **spec,
        },
    }


class Scene:
    """A store with one StatefulSet, and a kubelet that does as the test says."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        self.store = Store()
        fill_store(self.store, "the CA")
        self.controller = StatefulSetController(self.store, lambda: NOW)
        self.store.create("statefulsets", "default", build_statefulset(replicas, **spec))
        self.look()

    def look(self) -> list[str]:
        """The controller's next step; the names of the pods that are to stay, then."""
        self.controller.reconcile(("default", "db"))
        self.controller.reconcile(("default", "db"))
        return [name for name, pod in self.pods().items() if is_active_pod(pod)]

    def pods(self) -> dict[str, Obj]:
        listed = self.store.list("pods", "default")
        return dict(sorted((pod["metadata"]["name"], pod) for pod in listed))

    def set_ready(self, *names: str, ready: bool = True, phase: str = "Running") -> list[str]:
        for name in names:
            if "nodeName" not in self.pods()[name]["spec"]:
                bound = {"spec": {"nodeName": "lab-node"}}
                self.store.patch("pods", "default", name, bound, subresource="binding")
            condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": None}
            status = {"phase": phase, "conditions": [condition]}
            self.store.patch("pods", "default", name, {"status": status}, subresource="status")
        return self.look()

    def end(self, name: str) -> list[str]:
        """Its process is over, and the pod gone."""
        self.store.delete("pods", "default", name, grace_s=0)
        return self.look()

    def change(self, spec: Obj) -> list[str]:
        self.store.patch("statefulsets", "default", "db", {"spec": spec})
        return self.look()

    def template(self, image: str) -> Obj:
        return {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}

    def images(self) -> list[str]:
        return [pod["spec"]["containers"][0]["image"] for pod in self.pods().values()]

    def status(self) -> Obj:
        return dict(self.store.get("statefulsets", "default", "db")["status"])

    def revisions(self) -> dict[str, int]:
        listed = self.store.list("controllerrevisions", "default")
        return {each["metadata"]["name"]: each["revision"] for each in listed}


def open_ready(replicas: int, **spec: Any) -> Scene:
    scene = Scene(replicas, podManagementPolicy="Parallel", **spec)
    scene.set_ready(*scene.pods())
    return scene


def test_ordered_pods_come_one_after_the_other() -> None:
    scene = Scene(3)
    assert list(scene.pods()) == ["db-0"]
    assert scene.set_ready("db-0", ready=False) == ["db-0"]
    assert scene.set_ready("db-0") == ["db-0", "db-1"]
    assert scene.set_ready("db-1") == ["db-0", "db-1", "db-2"]


def test_parallel_pods_come_at_once() -> None:
    assert list(Scene(3, podManagementPolicy="Parallel").pods()) == ["db-0", "db-1", "db-2"]


def test_a_pod_has_its_name_everywhere_and_an_owner() -> None:
    scene = Scene(1, ordinals={"start": 5})
    pod = scene.pods()["db-5"]
    revision = scene.status()["updateRevision"]
    assert pod["metadata"]["labels"] == {
        "app": "db",
        "apps.kubernetes.io/pod-index": "5",
        "controller-revision-hash": revision,
        "statefulset.kubernetes.io/pod-name": "db-5",
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-5", "names")
    owner = pod["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("StatefulSet", "db", True)
    assert revision.startswith("db-")


def test_without_a_service_name_there_is_no_subdomain() -> None:
    assert "subdomain" not in Scene(1, serviceName="").pods()["db-0"]["spec"]


def test_the_status_is_as_recorded() -> None:
    scene = open_ready(1)
    status = scene.status()
    revision = status.pop("currentRevision")
    assert status.pop("updateRevision") == revision
    assert scene.revisions() == {revision: 1}
    assert status == {
        "observedGeneration": 1,
        "replicas": 1,
        "readyReplicas": 1,
        "currentReplicas": 1,
        "updatedReplicas": 1,
        "collisionCount": 0,
        "availableReplicas": 1,
    }


def test_ordered_pods_go_highest_first_each_when_the_last_is_gone() -> None:
    scene = Scene(3)
    for name in ("db-0", "db-1", "db-2"):
        scene.set_ready(name)
    assert scene.change({"replicas": 1}) == ["db-0", "db-1"]
    assert scene.look() == ["db-0", "db-1"]
    assert scene.end("db-2") == ["db-0"]
    assert scene.end("db-1") == ["db-0"]
    assert scene.status()["replicas"] == 1


def test_orphans_of_its_names_are_adopted() -> None:
    scene = open_ready(2)
    before = {name: pod["metadata"]["uid"] for name, pod in scene.pods().items()}
    revisions = scene.revisions()
    for plural in ("pods", "controllerrevisions"):
        for obj in scene.store.list(plural, "default"):
            scene.store.patch(plural, "default", obj["metadata"]["name"], ORPHANED)
    scene.look()
    owners = [pod["metadata"]["ownerReferences"][0]["name"] for pod in scene.pods().values()]
    assert owners == ["db", "db"]
    assert {name: pod["metadata"]["uid"] for name, pod in scene.pods().items()} == before
    assert scene.revisions() == revisions


def test_parallel_pods_go_at_once() -> None:
    assert open_ready(3).change({"replicas": 0}) == []


def test_one_that_is_gone_is_made_anew_under_its_name() -> None:
    scene = open_ready(2)
    uid = scene.pods()["db-0"]["metadata"]["uid"]
    scene.end("db-0")
    assert scene.pods()["db-0"]["metadata"]["uid"] != uid


def test_one_that_ended_is_removed_and_made_anew() -> None:
    scene = open_ready(2)
    assert scene.set_ready("db-1", ready=False, phase="Failed") == ["db-0", "db-1"]
    assert scene.pods()["db-1"]["status"]["phase"] == "Pending"


def test_a_new_template_replaces_one_pod_at_a_time_from_the_highest() -> None:
    scene = open_ready(2)
    before = scene.status()["currentRevision"]
    assert scene.change(scene.template("db:2")) == ["db-0"]
    assert scene.status()["currentRevision"] == before != scene.status()["updateRevision"]
    assert scene.end("db-1") == ["db-0", "db-1"]
    assert scene.images() == ["db:1", "db:2"]
    assert (scene.status()["currentReplicas"], scene.status()["updatedReplicas"]) == (1, 1)
    assert scene.set_ready("db-1") == ["db-1"]
    scene.end("db-0")
    scene.set_ready("db-0")
    assert scene.images() == ["db:2", "db:2"]
    status = scene.status()
    assert status["currentRevision"] == status["updateRevision"] != before
    assert sorted(scene.revisions().values()) == [1, 2]


def test_below_the_partition_everything_stays_as_it_was() -> None:
    scene = open_ready(2, updateStrategy={"rollingUpdate": {"partition": 1}})
    scene.change(scene.template("db:2"))
    scene.end("db-1")
    scene.set_ready("db-1")
    scene.end("db-0")
    assert scene.set_ready("db-0") == ["db-0", "db-1"]
    assert scene.images() == ["db:1", "db:2"]


def test_on_delete_waits_for_somebody_to_delete() -> None:
    scene = open_ready(2, updateStrategy={"type": "OnDelete"})
    assert scene.change(scene.template("db:2")) == ["db-0", "db-1"]
    scene.end("db-0")
    assert scene.images() == ["db:2", "db:1"]


def test_a_former_template_has_its_revision_back_as_the_newest() -> None:
    scene = open_ready(1, revisionHistoryLimit=0)
    first = scene.status()["updateRevision"]
    scene.change(scene.template("db:2"))
    scene.change(scene.template("db:1"))
    assert scene.status()["updateRevision"] == first
    assert scene.revisions()[first] == 3


def test_old_revisions_beyond_the_limit_go() -> None:
    scene = open_ready(1, revisionHistoryLimit=1, updateStrategy={"type": "OnDelete"})
    for number in range(2, 6):
        scene.change(scene.template(f"db:{number}"))
    # The one that the pod has, the newest, and one more.
    assert sorted(scene.revisions().values()) == [1, 4, 5]


def test_volume_claims_are_declined() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    with pytest.raises(ApiError) as caught:
        Scene(1, volumeClaimTemplates=[claim])
    assert caught.value.status == 501
