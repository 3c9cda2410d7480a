"""Quotas and limits refuse what a namespace may not have, in the words of a real cluster."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from apilab import build_pod, build_store

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.quantity import add_quantities, format_quantity, parse_quantity
from ktnet.lab.api.store import Store
from ktnet.lab.cluster import utc_now
from ktnet.lab.controllers.job import JobController
from ktnet.lab.controllers.quota import QuotaController

Obj = dict[str, Any]


def bound(store: Store, scopes: list[str] | None = None, **hard: str) -> None:
    """A quota `tiny`; of a bound's name, _ stands for dots."""
    named = {key.replace("_", "."): value for key, value in hard.items()}
    spec = {"hard": named, **({"scopes": scopes} if scopes else {})}
    store.create("resourcequotas", "demo", {"metadata": {"name": "tiny"}, "spec": spec})


def limit(store: Store, **item: Any) -> None:
    spec = {"limits": [{"type": "Container", **item}]}
    store.create("limitranges", "demo", {"metadata": {"name": "range"}, "spec": spec})


def build_sized(name: str, requests: Obj | None = None, limits: Obj | None = None) -> Obj:
    pod = build_pod(name)
    resources = {"requests": requests or {}, "limits": limits or {}}
    pod["spec"]["containers"][0]["resources"] = {k: v for k, v in resources.items() if v}
    return pod


def refusal(store: Store, pod: Obj, plural: str = "pods") -> str:
    with pytest.raises(ApiError) as caught:
        store.create(plural, "demo", pod)
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
    return caught.value.message


def test_a_dry_run_is_held_against_the_quota_and_counts_for_nothing() -> None:
    """k8s.io/apiserver, pkg/admission/plugin/resourcequota/controller.go, checkQuotas."""
    store = build_store()
    bound(store, pods="1")
    for _ in range(2):
        store.create("pods", "demo", build_pod("tried"), dry_run=True)
    store.create("pods", "demo", build_pod("made"))
    with pytest.raises(ApiError, match="exceeded quota: tiny"):
        store.create("pods", "demo", build_pod("more"), dry_run=True)


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        *[("1", 1), (2, 2), ("500m", "0.5"), ("1Ki", 1024), ("1.5Gi", 3 * 2**29), ("2k", 2000)],
        *[("1e3", 1000), ("-1", -1), (".5", "0.5"), ("0", 0)],
    ],
)
def test_quantities_are_read(text: str | int, worth: Any) -> None:
    assert parse_quantity(text) == Decimal(worth)


@pytest.mark.parametrize("text", ["", "x", "1Xi", "1 Ki", "--1", "1e", "Ki", "0x1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("values", "total"),
    [
        (["100m", "200m"], "300m"),
        (["500m", "500m"], "1"),
        (["64Mi", "64Mi"], "128Mi"),
        (["512Mi", "512Mi"], "1Gi"),
        (["0", "1Ki"], "1Ki"),
        (["1", "999"], "1k"),
        (["0"], "0"),
    ],
)
def test_sums_are_written_as_clusters_do(values: list[str], total: str) -> None:
    assert add_quantities(*values) == total
    assert parse_quantity(format_quantity(parse_quantity(total), total)) == parse_quantity(total)


def test_pods_are_counted_while_they_are_not_over() -> None:
    store = build_store()
    bound(store, pods="1")
    store.create("pods", "demo", build_pod("a"))
    assert refusal(store, build_pod("b")) == (
        'pods "b" is forbidden: exceeded quota: tiny, requested: pods=1, used: pods=1, '
        "limited: pods=1"
    )
    over = {"status": {"phase": "Succeeded"}}
    store.patch("pods", "demo", "a", over, subresource="status")
    store.create("pods", "demo", build_pod("b"))


def test_what_is_bounded_must_be_said() -> None:
    store = build_store()
    bound(store, limits_cpu="1", requests_memory="1Gi")
    assert refusal(store, build_pod("a")) == (
        'pods "a" is forbidden: failed quota: tiny: must specify limits.cpu for: main; '
        "requests.memory for: main"
    )
    store.create("pods", "demo", build_sized("a", {"memory": "512Mi"}, {"cpu": "600m"}))
    assert refusal(store, build_sized("b", {"memory": "256Mi"}, {"cpu": "600m"})) == (
        'pods "b" is forbidden: exceeded quota: tiny, requested: limits.cpu=600m, '
        "used: limits.cpu=600m, limited: limits.cpu=1"
    )
    store.create("pods", "demo", build_sized("b", {"memory": "512Mi"}, {"cpu": "400m"}))


def test_other_kinds_are_counted_by_name() -> None:
    store = build_store()
    bound(store, **{"count/jobs.batch": "0", "configmaps": "1"})
    spec = {"template": build_pod("x", restartPolicy="Never")}
    job = {"metadata": {"name": "j"}, "spec": {"template": spec["template"]}}
    assert "used: count/jobs.batch=0, limited: count/jobs.batch=0" in refusal(store, job, "jobs")
    store.create("configmaps", "demo", {"metadata": {"name": "a"}})
    assert "exceeded quota: tiny" in refusal(store, {"metadata": {"name": "b"}}, "configmaps")


def test_scopes_choose_pods() -> None:
    store = build_store()
    bound(store, ["NotBestEffort"], pods="0")
    store.create("pods", "demo", build_pod("a"))
    assert "exceeded quota" in refusal(store, build_sized("b", {"cpu": "1m"}))
    store = build_store()
    bound(store, ["Terminating"], pods="0")
    store.create("pods", "demo", build_pod("a"))
    assert "exceeded quota" in refusal(store, build_pod("b", activeDeadlineSeconds=9))


def test_the_status_says_what_is_used() -> None:
    store = build_store()
    bound(store, pods="3", cpu="2", secrets="5")
    for name in ("a", "b"):
        store.create("pods", "demo", build_sized(name, {"cpu": "250m"}))
    QuotaController(store).reconcile(("demo", "tiny"))
    assert store.get("resourcequotas", "demo", "tiny")["status"] == {
        "hard": {"pods": "3", "cpu": "2", "secrets": "5"},
        "used": {"pods": "2", "cpu": "500m", "secrets": "0"},
    }


def test_a_bound_that_is_no_quantity_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        bound(build_store(), pods="many")
    assert caught.value.status == 422


def test_containers_get_defaults_and_a_note_of_it() -> None:
    store = build_store()
    limit(store, default={"cpu": "1", "memory": "64Mi"}, defaultRequest={"cpu": "100m"})
    store.create("pods", "demo", build_pod("a"))
    pod = store.get("pods", "demo", "a")
    assert pod["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "64Mi"},
    }
    assert pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container main; "
        "cpu, memory limit for container main"
    )
    assert pod["status"]["qosClass"] == "Burstable"
    store.create("pods", "demo", build_sized("b", {"cpu": "1m"}, {"cpu": "2m", "memory": "1Mi"}))
    resources = store.get("pods", "demo", "b")["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "2m", "memory": "1Mi"}


def test_containers_outside_the_range_are_refused() -> None:
    store = build_store()
    limit(store, max={"cpu": "1"}, min={"memory": "16Mi"})
    store.create("pods", "demo", build_pod("fits"))
    assert refusal(store, build_sized("a", {"memory": "1Mi"}, {"cpu": "2"})) == (
        'pods "a" is forbidden: [minimum memory usage per Container is 16Mi, but request is 1Mi, '
        "maximum cpu usage per Container is 1, but limit is 2]"
    )


def test_a_job_that_may_not_have_its_pod_says_so() -> None:
    async def scene() -> None:
        store = build_store()
        bound(store, pods="0")
        job = {
            "metadata": {"name": "j"},
            "spec": {"template": build_pod("x", restartPolicy="Never")},
        }
        store.create("jobs", "demo", job)
        with pytest.raises(ApiError):
            JobController(store, utc_now).reconcile(("demo", "j"))
        (event,) = store.list("events", "demo")
        assert (event["reason"], event["type"]) == ("FailedCreate", "Warning")
        assert event["source"]["component"] == "job-controller"
        assert "is forbidden: exceeded quota: tiny" in event["message"]

    asyncio.run(scene())
