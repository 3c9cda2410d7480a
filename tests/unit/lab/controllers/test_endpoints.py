"""Endpoints follow pods: readiness, deletion, named ports, host names, missing selectors."""

from datetime import UTC, datetime
from typing import Any

from ktnet.lab.controllers.action import Create, Delete, Replace
from ktnet.lab.controllers.endpoints import plan_endpoints

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Obj = dict[str, Any]


def build_service(**spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "demo", "uid": "s", "labels": {"own": "x"}},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.1.1",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
            **spec,
        },
    }


def build_pod(name: str, address: str | None, *, ready: bool = True, port: int = 8080) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "demo", "uid": name, "labels": {"app": "web"}},
        "spec": {
            "nodeName": "lab-node",
            "containers": [{"ports": [{"name": "http", "containerPort": port}]}],
        },
        "status": {
            "phase": "Running",
            **({"podIP": address} if address else {}),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def plan(
    service: Obj, pods: list[Obj], slices: list[Obj] | None = None
) -> tuple[list[Any], Obj, Obj]:
    """All actions, and the EndpointSlice and the Endpoints that they write."""
    actions = plan_endpoints(service, pods, slices or [], None, NOW)
    by_plural = {a.plural: a.obj for a in actions if isinstance(a, Create | Replace)}
    return actions, by_plural.get("endpointslices", {}), by_plural.get("endpoints", {})


def test_a_service_without_pods_has_an_empty_slice() -> None:
    _, endpoint_slice, endpoints = plan(build_service(), [])
    assert endpoint_slice["metadata"]["generateName"] == "web-"
    assert endpoint_slice["metadata"]["labels"] == {
        "own": "x",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "web",
    }
    assert endpoint_slice["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert endpoint_slice["endpoints"] is None
    assert endpoint_slice["ports"] is None
    assert endpoints["metadata"]["labels"] == {
        "own": "x",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    assert "subsets" not in endpoints


def test_ready_not_ready_and_ending_pods() -> None:
    ending = build_pod("ending", "10.244.0.5")
    ending["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    ended = build_pod("ended", "10.244.0.6")
    ended["status"]["phase"] = "Failed"
    pods = [
        build_pod("up", "10.244.0.3"),
        build_pod("down", "10.244.0.4", ready=False),
        ending,
        ended,
        build_pod("new", None),
    ]
    _, endpoint_slice, endpoints = plan(build_service(), pods)
    assert endpoint_slice["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert {
        each["targetRef"]["name"]: tuple(each["conditions"].values())
        for each in endpoint_slice["endpoints"]
    } == {
        "up": (True, True, False),
        "down": (False, False, False),
        "ending": (False, True, True),
    }
    (subset,) = endpoints["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.244.0.3"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.244.0.4"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_publish_not_ready_addresses() -> None:
    _, endpoint_slice, _ = plan(
        build_service(publishNotReadyAddresses=True), [build_pod("p", "10.244.0.3", ready=False)]
    )
    assert endpoint_slice["endpoints"][0]["conditions"] == {
        "ready": True,
        "serving": False,
        "terminating": False,
    }


def test_host_names_of_headless_services() -> None:
    pod = build_pod("db-0", "10.244.0.3")
    pod["spec"] |= {"hostname": "db-0", "subdomain": "web"}
    _, endpoint_slice, endpoints = plan(build_service(clusterIP="None"), [pod])
    assert endpoint_slice["endpoints"][0]["hostname"] == "db-0"
    assert endpoint_slice["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert endpoints["subsets"][0]["addresses"][0]["hostname"] == "db-0"
    pod["spec"]["subdomain"] = "other"
    _, endpoint_slice, _ = plan(build_service(), [pod])
    assert "hostname" not in endpoint_slice["endpoints"][0]


def test_a_named_port_that_differs_makes_two_slices() -> None:
    pods = [build_pod("a", "10.244.0.3"), build_pod("b", "10.244.0.4", port=9090)]
    actions, _, _ = plan(build_service(), pods)
    made = [a.obj for a in actions if isinstance(a, Create) and a.plural == "endpointslices"]
    assert sorted(each["ports"][0]["port"] for each in made) == [8080, 9090]


def test_a_slice_is_reused_and_settles() -> None:
    service, pods = build_service(), [build_pod("p", "10.244.0.3")]
    _, first, legacy = plan(service, pods)
    first["metadata"]["name"] = "web-abcde"
    assert plan_endpoints(service, pods, [first], legacy, NOW) == []
    pods[0]["status"]["conditions"][0]["status"] = "False"
    actions = plan_endpoints(service, pods, [first], legacy, NOW)
    assert [type(action) for action in actions] == [Replace, Replace]
    assert actions[0].obj["metadata"]["name"] == "web-abcde"  # type: ignore[union-attr]


def test_surplus_slices_go() -> None:
    service = build_service()
    slices = [
        {
            "metadata": {"name": name, "namespace": "demo", "uid": name, "labels": {}},
            "ports": [{"name": "http", "protocol": "TCP", "port": port}],
        }
        for name, port in (("a", 8080), ("b", 9090))
    ]
    actions = plan_endpoints(service, [build_pod("p", "10.244.0.3")], slices, None, NOW)
    assert [action.name for action in actions if isinstance(action, Delete)] == ["b"]


def test_without_selector_nothing_is_touched() -> None:
    for service in (
        build_service(selector=None),
        build_service(type="ExternalName", externalName="x.example"),
    ):
        assert plan_endpoints(service, [build_pod("p", "10.244.0.3")], [], None, NOW) == []
