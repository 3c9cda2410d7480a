"""Kinds that no recording shows: stored with the defaults and checks of Kubernetes' source."""

import asyncio
from typing import ClassVar

import pytest
from apilab import build_store, open_lab

from ktnet.lab.api.errors import ApiError

TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "main", "image": "lab/any:1"}]},
}


def define(group="networking.istio.io", plural="virtualservices", kind="VirtualService", **extra):
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": name, "served": True, "storage": name == "v1", "schema": schema, **extra}
        for name in ("v1", "v1beta1")
    ]
    names = {"plural": plural, "kind": kind, "shortNames": ["vs"]}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
    return {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}


ROUTES = {"metadata": {"name": "web"}, "spec": {"hosts": ["web"], "http": []}}
VIRTUAL_SERVICES = "/apis/networking.istio.io/{}/namespaces/demo/virtualservices"


class TestCustomResources:
    def test_are_served_once_they_are_defined(self):
        async def scene():
            async with open_lab() as lab:
                path = VIRTUAL_SERVICES.format("v1")
                assert (await lab.ask("GET", path, raw=True))[0] == 404
                status, made = await lab.ask(
                    "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", define()
                )
                assert status == 201
                conditions = {each["type"]: each["status"] for each in made["status"]["conditions"]}
                assert conditions == {"NamesAccepted": "True", "Established": "True"}
                status, made = await lab.ask("POST", path, ROUTES)
                assert (status, made["kind"], made["metadata"]["generation"]) == (
                    201,
                    "VirtualService",
                    1,
                )
                _, listed = await lab.ask("GET", path)
                assert listed["kind"] == "VirtualServiceList"
                assert listed["items"][0]["spec"] == ROUTES["spec"]

        asyncio.run(scene())

    def test_have_all_versions_of_their_definition(self):
        async def scene():
            store = build_store()
            store.create("customresourcedefinitions", None, define())
            store.create("virtualservices.networking.istio.io", "demo", ROUTES)
            async with open_lab(store) as lab:
                for version in ("v1", "v1beta1"):
                    path = VIRTUAL_SERVICES.format(version) + "/web"
                    _, found = await lab.ask("GET", path)
                    assert found["apiVersion"] == f"networking.istio.io/{version}"
                _, groups = await lab.ask("GET", "/apis")
                group = next(g for g in groups["groups"] if g["name"] == "networking.istio.io")
                assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1"]
                _, resources = await lab.ask("GET", "/apis/networking.istio.io/v1beta1")
                assert [each["name"] for each in resources["resources"]] == ["virtualservices"]

        asyncio.run(scene())

    @pytest.mark.parametrize(
        ("content_type", "patch", "hosts"),
        [
            ("application/merge-patch+json", {"spec": {"hosts": ["b"]}}, ["b"]),
            (
                "application/json-patch+json",
                [{"op": "replace", "path": "/spec/hosts", "value": ["c"]}],
                ["c"],
            ),
        ],
    )
    def test_are_patched(self, content_type, patch, hosts):
        async def scene():
            store = build_store()
            store.create("customresourcedefinitions", None, define())
            store.create("virtualservices.networking.istio.io", "demo", ROUTES)
            async with open_lab(store) as lab:
                headers = {"Content-Type": content_type}
                path = VIRTUAL_SERVICES.format("v1") + "/web"
                _, found = await lab.ask("PATCH", path, patch, headers=headers)
                assert (found["spec"]["hosts"], found["metadata"]["generation"]) == (hosts, 2)

        asyncio.run(scene())

    def test_know_no_strategic_merge(self):
        async def scene():
            store = build_store()
            store.create("customresourcedefinitions", None, define())
            store.create("virtualservices.networking.istio.io", "demo", ROUTES)
            async with open_lab(store) as lab:
                headers = {"Content-Type": "application/strategic-merge-patch+json"}
                path = VIRTUAL_SERVICES.format("v1") + "/web"
                status, said = await lab.ask("PATCH", path, {"spec": {}}, headers=headers)
                assert (status, said["reason"]) == (415, "UnsupportedMediaType")

        asyncio.run(scene())

    def test_go_with_their_definition(self):
        store = build_store()
        store.create("customresourcedefinitions", None, define())
        key = "virtualservices.networking.istio.io"
        store.create(key, "demo", ROUTES)
        store.delete("customresourcedefinitions", None, key)
        with pytest.raises(ApiError) as refusal:
            store.list(key)
        assert refusal.value.status == 404

    def test_a_kind_of_the_same_plural_is_another(self):
        store = build_store()
        store.create("customresourcedefinitions", None, define("example.com", "services", "Other"))
        store.create("services.example.com", "demo", {"metadata": {"name": "s"}})
        assert store.list("services") == []

    def test_the_status_is_apart_where_the_definition_says_so(self):
        store = build_store()
        store.create("customresourcedefinitions", None, define(subresources={"status": {}}))
        key = "virtualservices.networking.istio.io"
        store.create(key, "demo", {**ROUTES, "status": {"a": 1}})
        assert "status" not in store.get(key, "demo", "web")
        store.patch(key, "demo", "web", {"status": {"a": 2}}, subresource="status")
        found = store.get(key, "demo", "web")
        assert (found["status"], found["metadata"]["generation"]) == ({"a": 2}, 1)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"metadata": {"name": "other.example.com"}}, "metadata.name"),
            ({"spec": {**define()["spec"], "versions": []}}, "spec.versions"),
            ({"spec": {**define()["spec"], "scope": "Everywhere"}}, "spec.scope"),
        ],
    )
    def test_a_bad_definition_is_refused(self, change, field):
        store = build_store()
        with pytest.raises(ApiError) as refusal:
            store.create("customresourcedefinitions", None, {**define(), **change})
        assert field in [cause["field"] for cause in refusal.value.details["causes"]]


class TestAutoscalers:
    def test_aim_at_cpu_where_nothing_is_said(self):
        store = build_store()
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": target, "maxReplicas": 3}
        made = store.create(
            "horizontalpodautoscalers", "demo", {"metadata": {"name": "web"}, "spec": spec}
        )
        assert made["apiVersion"] == "autoscaling/v2"
        assert made["spec"]["minReplicas"] == 1
        assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
        assert made["status"] == {"desiredReplicas": 0, "currentMetrics": None}

    def test_without_a_target_are_refused(self):
        with pytest.raises(ApiError) as refusal:
            build_store().create(
                "horizontalpodautoscalers",
                "demo",
                {"metadata": {"name": "web"}, "spec": {"maxReplicas": 0}},
            )
        fields = {cause["field"] for cause in refusal.value.details["causes"]}
        assert {"spec.maxReplicas", "spec.scaleTargetRef.kind"} <= fields


class TestDisruptionBudgets:
    def test_say_one_of_both(self):
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "maxUnavailable": 1}}
        with pytest.raises(ApiError, match="cannot be both set"):
            build_store().create("poddisruptionbudgets", "demo", budget)

    def test_start_with_no_disruption_allowed(self):
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": "50%"}}
        made = build_store().create("poddisruptionbudgets", "demo", budget)
        assert made["status"]["disruptionsAllowed"] == 0


class TestStatefulSets:
    SPEC: ClassVar = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}

    def test_may_change_replicas_but_not_their_service(self):
        store = build_store()
        store.create("statefulsets", "demo", {"metadata": {"name": "s"}, "spec": self.SPEC})
        store.patch("statefulsets", "demo", "s", {"spec": {"replicas": 2}}, subresource="scale")
        assert store.get("statefulsets", "demo", "s")["spec"]["replicas"] == 2
        with pytest.raises(ApiError, match="fields other than 'replicas'"):
            store.patch("statefulsets", "demo", "s", {"spec": {"serviceName": "t"}})

    def test_revisions_never_change(self):
        store = build_store()
        revision = {"metadata": {"name": "r"}, "data": {"a": 1}, "revision": 1}
        store.create("controllerrevisions", "demo", revision)
        with pytest.raises(ApiError, match="immutable"):
            store.patch("controllerrevisions", "demo", "r", {"data": {"a": 2}})


def test_a_quota_keeps_what_others_count():
    store = build_store()
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}, "status": {"used": {}}}
    assert store.create("resourcequotas", "demo", quota)["status"] == {}
    used = {"status": {"hard": {"pods": "2"}, "used": {"pods": "1"}}}
    store.patch("resourcequotas", "demo", "q", used, subresource="status")
    assert store.get("resourcequotas", "demo", "q")["status"] == used["status"]
