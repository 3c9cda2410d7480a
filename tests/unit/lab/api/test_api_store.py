"""The store: what a write makes of an object, what a delete leaves, what a watch tells."""

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network

import pytest
from apilab import build_pod, build_store, run_pod

from ktnet.lab.api.deletion import DeleteOptions
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.history import KEPT
from ktnet.lab.api.store import Store

TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "main", "image": "lab/any:1"}]},
}
JOB = {
    "metadata": {"name": "j"},
    "spec": {
        "template": {"spec": {"restartPolicy": "OnFailure", **TEMPLATE["spec"]}},
    },
}
DEPLOYMENT = {
    "metadata": {"name": "d"},
    "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
}


def config(name, **fields):
    return {"metadata": {"name": name, **fields}, "data": {"a": "1"}}


def refusal(call, *args, **kwargs):
    with pytest.raises(ApiError) as refused:
        call(*args, **kwargs)
    return refused.value


def test_a_new_store_knows_its_range_of_service_addresses():
    store = Store(service_range=IPv4Network("10.7.0.0/24"))
    assert store.get("servicecidrs", None, "kubernetes")["spec"] == {"cidrs": ["10.7.0.0/24"]}


def test_what_is_given_is_never_kept_or_changed():
    store, given = build_store(), config("c")
    made = store.create("configmaps", "demo", given)
    assert given == config("c")
    given["data"]["a"] = "2"
    assert made["data"] == {"a": "1"}
    patched = store.patch("configmaps", "demo", "c", {"data": {"a": "3"}})
    assert (made["data"], patched["data"]) == ({"a": "1"}, {"a": "3"})


def test_versions_count_up_over_all_kinds():
    store = build_store()
    first = store.create("configmaps", "demo", config("a"))
    second = store.create("secrets", "demo", {"metadata": {"name": "s"}})
    versions = [int(each["metadata"]["resourceVersion"]) for each in (first, second)]
    assert versions == [store.version - 1, store.version]


def test_a_stale_version_is_a_conflict_and_none_is_not():
    store = build_store()
    old = store.create("configmaps", "demo", config("c"))
    store.patch("configmaps", "demo", "c", {"data": {"b": "2"}})
    error = refusal(store.update, "configmaps", "demo", "c", old)
    assert (error.status, error.reason) == (409, "Conflict")
    assert store.update("configmaps", "demo", "c", config("c"))["data"] == {"a": "1"}


def test_a_lease_is_not_put_without_a_version():
    store = build_store()
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    store.create("leases", "demo", lease)
    assert refusal(store.update, "leases", "demo", "l", lease).status == 422


def test_an_update_without_a_change_is_no_change():
    store = build_store()
    old = store.create("configmaps", "demo", config("c"))
    assert store.patch("configmaps", "demo", "c", {"data": {"a": "1"}}) is old
    assert store.version == int(old["metadata"]["resourceVersion"])


def test_a_dry_run_leaves_no_trace():
    store = build_store()
    before = store.version
    made = store.create("configmaps", "demo", config("c"), dry_run=True)
    assert "resourceVersion" not in made["metadata"]
    assert (store.version, store.list("configmaps")) == (before, [])


def test_generations_count_specs_not_labels_or_status():
    store = build_store()
    store.create("deployments", "demo", DEPLOYMENT)

    def generation(patch, subresource=None):
        patched = store.patch("deployments", "demo", "d", patch, subresource=subresource)
        return patched["metadata"]["generation"]

    assert generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert generation({"status": {"replicas": 7}}, "status") == 1
    assert generation({"spec": {"replicas": 2}}) == 2
    assert generation({"spec": {"replicas": 3}}, "scale") == 3
    assert generation({"metadata": {"annotations": {"a": "b"}}}) == 4


def test_status_is_a_part_of_its_own():
    store = build_store()
    store.create("deployments", "demo", {**DEPLOYMENT, "status": {"replicas": 9}})
    assert store.get("deployments", "demo", "d")["status"] == {}
    store.patch("deployments", "demo", "d", {"status": {"replicas": 9}})
    assert store.get("deployments", "demo", "d")["status"] == {}
    store.patch(
        "deployments",
        "demo",
        "d",
        {"spec": {"replicas": 5}, "status": {"replicas": 9}},
        subresource="status",
    )
    deployment = store.get("deployments", "demo", "d")
    assert (deployment["status"], deployment["spec"]["replicas"]) == ({"replicas": 9}, 1)


def test_objects_need_their_namespace():
    store = build_store()
    assert refusal(store.create, "configmaps", "nosuch", config("c")).status == 404
    store.delete("namespaces", None, "demo")
    error = refusal(store.create, "configmaps", "demo", config("c"))
    assert (error.status, error.details["causes"][0]["reason"]) == (403, "NamespaceTerminating")


def test_a_pod_needs_its_service_account():
    store = Store()
    store.create("namespaces", None, {"metadata": {"name": "demo"}})
    error = refusal(store.create, "pods", "demo", build_pod("p"))
    assert error.status == 403
    assert 'serviceaccount "default" not found' in error.message


def test_a_pod_without_a_token_gets_no_volume():
    store = build_store()
    pod = store.create("pods", "demo", build_pod("p", automountServiceAccountToken=False))
    assert "volumes" not in pod["spec"]
    assert store.create("pods", "demo", build_pod("q"))["spec"]["volumes"]


def test_addresses_are_given_once_and_given_back():
    store = build_store()
    service = {"spec": {"ports": [{"port": 80}]}}
    made = [
        store.create("services", "demo", {"metadata": {"name": f"s{i}"}, **service})
        for i in range(50)
    ]
    addresses = {each["spec"]["clusterIP"] for each in made}
    assert len(addresses) == 50
    assert all(IPv4Address(each) in IPv4Network("10.96.0.0/16") for each in addresses)
    again = {"metadata": {"name": "again"}, "spec": {**service["spec"]}}
    again["spec"]["clusterIP"] = made[0]["spec"]["clusterIP"]
    error = refusal(store.create, "services", "demo", again)
    assert "provided IP is already allocated" in error.message
    store.delete("services", "demo", "s0")
    assert store.create("services", "demo", again)["spec"]["clusterIPs"] == [
        made[0]["spec"]["clusterIP"]
    ]


def test_a_small_range_runs_full():
    store = Store(service_range=IPv4Network("10.7.0.0/29"))
    store.create("namespaces", None, {"metadata": {"name": "demo"}})
    for i in range(6):
        service = {"metadata": {"name": f"s{i}"}, "spec": {"ports": [{"port": 80}]}}
        store.create("services", "demo", service)
    service["metadata"]["name"] = "one-too-many"
    assert refusal(store.create, "services", "demo", service).status == 500


def test_a_dry_run_names_the_range_of_addresses():
    service = {"metadata": {"name": "s"}, "spec": {"clusterIP": "1.1.1.1", "ports": [{"port": 1}]}}
    error = refusal(build_store().create, "services", "demo", service, dry_run=True)
    assert error.message == (
        'Service "s" is invalid: spec.clusterIPs: Invalid value: ["1.1.1.1"]: failed to allocate '
        "IP 1.1.1.1: the provided IP (1.1.1.1) is not in the valid range. The range of valid IPs "
        "is 10.96.0.0/16"
    )


def test_service_addresses_survive_updates_and_cannot_change():
    store = build_store()
    given = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    made = store.create("services", "demo", given)
    put = store.update("services", "demo", "s", {**given, "metadata": {"name": "s"}})
    assert put["spec"] == made["spec"]
    error = refusal(store.patch, "services", "demo", "s", {"spec": {"clusterIP": "10.96.1.1"}})
    assert error.details["causes"][0]["field"] == "spec.clusterIPs[0]"
    gone = store.patch(
        "services", "demo", "s", {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    )
    assert not {"clusterIP", "clusterIPs", "ipFamilies"} & gone["spec"].keys()


def test_deleting_leaves_a_job_to_the_garbage_collector_unless_told_otherwise():
    store = build_store()
    store.create("jobs", "demo", JOB)
    left = store.remove("jobs", "demo", "j", DeleteOptions())
    assert (left.gone, left.obj["metadata"]["finalizers"]) == (False, ["orphan"])
    left = store.remove("jobs", "demo", "j", DeleteOptions("Background"))
    assert left.gone
    assert not store.has("jobs", "demo", "j")


def test_foreground_waits_for_its_finalizer():
    store = build_store()
    store.create("deployments", "demo", DEPLOYMENT)
    dying = store.delete("deployments", "demo", "d", propagation="Foreground")["metadata"]
    assert (dying["finalizers"], dying["generation"]) == (["foregroundDeletion"], 2)
    assert dying["deletionGracePeriodSeconds"] == 0
    store.patch("deployments", "demo", "d", {"metadata": {"finalizers": None}})
    assert not store.has("deployments", "demo", "d")


def test_a_running_pod_ends_gracefully_and_only_ever_sooner():
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    store = build_store()
    store._clock = lambda: moment
    run_pod(store, "p")
    meta = store.delete("pods", "demo", "p", grace_s=8)["metadata"]
    assert meta["deletionTimestamp"] == "2026-01-02T03:04:13Z"
    moment += timedelta(seconds=2)
    assert store.delete("pods", "demo", "p", grace_s=20)["metadata"] == meta
    meta = store.delete("pods", "demo", "p", grace_s=5)["metadata"]
    assert meta["deletionTimestamp"] == "2026-01-02T03:04:10Z"
    store.delete("pods", "demo", "p", grace_s=0)
    assert not store.has("pods", "demo", "p")


def test_a_pod_that_never_ran_or_is_over_goes_at_once():
    store = build_store()
    store.create("pods", "demo", build_pod("never"))
    run_pod(store, "over")
    store.patch("pods", "demo", "over", {"status": {"phase": "Failed"}}, subresource="status")
    for name in ("never", "over"):
        store.delete("pods", "demo", name)
        assert not store.has("pods", "demo", name)


def test_a_finalizer_holds_a_pod_after_its_end():
    store = build_store()
    run_pod(store, "p")
    store.patch("pods", "demo", "p", {"metadata": {"finalizers": ["example.com/f"]}})
    store.delete("pods", "demo", "p", grace_s=0)
    assert store.get("pods", "demo", "p")["metadata"]["deletionGracePeriodSeconds"] == 0
    store.patch("pods", "demo", "p", {"metadata": {"finalizers": []}})
    assert not store.has("pods", "demo", "p")


def test_a_namespace_goes_when_it_is_finalized():
    store = build_store()
    dying = store.delete("namespaces", None, "demo")
    assert dying["status"] == {"phase": "Terminating"}
    store.update("namespaces", None, "demo", {**dying, "spec": {}}, subresource="finalize")
    assert not store.has("namespaces", None, "demo")


def test_a_delete_means_one_object_only():
    store = build_store()
    made = store.create("configmaps", "demo", config("c"))
    assert refusal(store.delete, "configmaps", "demo", "c", uid="another").status == 409
    store.delete("configmaps", "demo", "c", uid=made["metadata"]["uid"])


def test_lists_as_of_an_older_version():
    store = build_store()
    store.create("configmaps", "demo", config("a"))
    store.create("configmaps", "demo", config("b"))
    version = store.version
    store.delete("configmaps", "demo", "a")
    store.patch("configmaps", "demo", "b", {"data": {"a": "2"}})
    store.create("configmaps", "demo", config("c"))
    then = store.list_as_of("configmaps", "demo", version)
    assert [(each["metadata"]["name"], each["data"]["a"]) for each in then] == [
        ("a", "1"),
        ("b", "1"),
    ]
    store.history.compact(store.version)
    assert refusal(store.list_as_of, "configmaps", "demo", version).status == 410


def test_a_watch_tells_what_is_and_what_comes():
    async def scenario():
        store = build_store("demo", "other")
        store.create("configmaps", "demo", config("a"))
        with store.watch("configmaps", "demo") as events:

            async def take():
                kind, obj = await anext(events)
                return kind, obj["metadata"]["name"]

            assert await take() == ("ADDED", "a")
            store.create("configmaps", "other", config("unseen"))
            store.create("configmaps", "demo", config("b"))
            store.patch("configmaps", "demo", "a", {"data": {"a": "2"}})
            store.delete("configmaps", "demo", "b")
            assert [await take() for _ in range(3)] == [
                ("ADDED", "b"),
                ("MODIFIED", "a"),
                ("DELETED", "b"),
            ]
            waiting = asyncio.ensure_future(take())
            await asyncio.sleep(0)
            assert not waiting.done()
            store.create("configmaps", "demo", config("c"))
            assert await waiting == ("ADDED", "c")

    asyncio.run(scenario())


def test_a_watch_that_fell_behind_hears_of_the_difference():
    async def scenario():
        store = build_store()
        for name in ("gone", "kept"):
            store.create("configmaps", "demo", config(name))
        with store.watch("configmaps") as events:
            for _ in range(2):
                await anext(events)
            store.delete("configmaps", "demo", "gone")
            for i in range(KEPT + 1):
                store.patch("configmaps", "demo", "kept", {"data": {"a": str(i)}})
            store.create("configmaps", "demo", config("new"))
            told = [await anext(events) for _ in range(3)]
        assert sorted((kind, obj["metadata"]["name"]) for kind, obj in told) == [
            ("ADDED", "new"),
            ("DELETED", "gone"),
            ("MODIFIED", "kept"),
        ]

    asyncio.run(scenario())


def test_unknown_kinds_are_unknown():
    store = build_store()
    for call in (store.list, store.has):
        args = ("frobs", "demo", "x") if call == store.has else ("frobs",)
        assert refusal(call, *args).status == 404
