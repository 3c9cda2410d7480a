"""`ktnet exchange`: what callers see from its beginning to its end, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import ask, list_objects, read_object
from connect_client import read_session, wait_until
from exchange_state import count_ready, left_behind, read_state
from forked_command import ask_command
from inbound_scene import (
    ECHO,
    call,
    fails,
    kubectl,
    open_app,
    open_command,
    open_loop,
)

from ktnet.lab.harness import KTNET, Lab, open_lab
from ktnet.wire.record import ANNOTATION

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl runs the callers in pods"),
]

SOAK = "KTNET_SOAK" in os.environ
REQUESTS = 10_000 if SOAK else 300
MIB = 1024 if SOAK else 8
CUTS = 10 if SOAK else 1
SHOP = "shop.demo.svc.cluster.local"


def build_workload(kind: str, name: str, replicas: int, port: int = 8080) -> list[dict[str, Any]]:
    """A workload whose process serves on until its grace is over, with its Service."""
    labels = {"app": name, "app.kubernetes.io/name": name}
    container = {
        "name": "app",
        "image": "lab/http-echo:1",
        "command": ["python3", "-c", ECHO.replace('"127.0.0.1"', '"0.0.0.0"'), str(port), name],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 3, "containers": [container]},
        },
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    service: dict[str, Any] = {
        "selector": labels,
        "ports": [{"name": "web", "port": 80, "targetPort": "http"}],
    }
    return [
        {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_lab(f"exchange-{os.getpid()}") as lab:
        path = tmp_path_factory.mktemp("objects") / "shop.json"
        items = build_workload("Deployment", "shop", 2)
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        kubectl(lab, "create", "--validate=false", "-f", str(path))
        wait_until(lambda: count_ready(lab, "shop") == 2)
        yield lab


@pytest.mark.timeout(1200 if SOAK else 120)
@pytest.mark.parametrize("mode", ["scale", "selector"])
def test_no_request_fails_over_a_whole_exchange(lab: Lab, mode: str) -> None:
    before = read_state(lab)
    with open_loop(lab, SHOP, 80) as found, open_app(lab, 8080):
        with open_command(lab, "exchange", "shop", "--expose", "8080", "--mode", mode) as client:
            client.wait_for("ready")
            lab.settle()
            kind = "deployments" if mode == "scale" else "services"
            shop = read_object(lab, kind, "shop")
            assert ANNOTATION in shop["metadata"]["annotations"]
            if mode == "scale":
                assert shop["spec"]["replicas"] == 0
                wait_until(lambda: not pods_of_shop(lab)[1:])
            requests = call(lab, SHOP, 80, "ids", str(REQUESTS), "20")
            assert requests == {"asked": REQUESTS, "wrong": [], "failed": 0}
            assert call(lab, SHOP, 80, "bulk", str(MIB)) == {"up": True, "down": True}
            assert call(lab, SHOP, 80, "once", "id+1")["answer"].startswith("laptop ")
            assert read_session(lab)["exchanged"] in {"deployment/shop", "service/shop"}
            code, err = client.end(signal.SIGTERM if mode == "scale" else signal.SIGHUP)
            assert code == 0, err
        assert call(lab, SHOP, 80, "once", "id+1")["answer"].startswith("shop ")
    print(mode, found)
    assert found["failed"] == 0, found
    assert found["names"].keys() == {"laptop", "shop"}
    assert left_behind(lab, before) == []


@pytest.mark.soak
def test_an_app_that_closes_at_sigterm_fails_some_callers_but_by_selector_none(lab: Lab) -> None:
    """It refuses from the moment on when it is told to go, whatever the nodes know by then; so it
    would at any `kubectl scale`. The figures are printed."""
    objects = build_workload("Deployment", "hasty", 2)
    container = objects[0]["spec"]["template"]["spec"]["containers"][0]
    closes = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
    container["command"][2] = f"import os, signal; {closes}\n{container['command'][2]}"
    ask(lab, "POST", "/apis/apps/v1/namespaces/demo/deployments", objects[0])
    ask(lab, "POST", "/api/v1/namespaces/demo/services", objects[1])
    wait_until(lambda: count_ready(lab, "hasty") == 2, 60)
    failed, hasty = {}, "hasty.demo.svc.cluster.local"
    for mode in ("scale", "selector"):
        options = ("--expose", "8080", "--mode", mode)
        with (
            open_loop(lab, hasty, 80) as found,
            open_app(lab, 8080),
            open_command(lab, "exchange", "hasty", *options) as client,
        ):
            client.wait_for("ready")
            wait_until(
                lambda: "laptop" in call(lab, hasty, 80, "once", "id+1").get("answer", ""), 20
            )
            assert client.end()[0] == 0
        print(mode, found)
        failed[mode] = found["failed"]
        # Never for long: a few tenths of a second of 50 a second.
        assert found["failed"] < found["count"] / 5
    assert failed["selector"] == 0
    kubectl(lab, "delete", "deploy/hasty", "service/hasty")


def pods_of_shop(lab: Lab) -> list[dict[str, Any]]:
    return list_objects(lab, "pods", labels="app=shop")["pods"]


def test_a_laptop_that_is_gone_leaves_the_origin_in_selector_mode(lab: Lab) -> None:
    before = read_state(lab)
    with open_app(lab, 8080):
        client_options = ("--expose", "8080:http", "--mode", "selector")
        with open_command(lab, "exchange", "service/shop", *client_options) as client:
            client.wait_for("ready")
            lab.fault("forwards", deed="stall")
            wait_until(lambda: answers(lab, "shop"), 20)
            lab.fault("forwards", deed="resume")
            wait_until(lambda: answers(lab, "laptop"), 20)
            lab.fault("forwards", deed="cut")
            client.wait_for("is back")
            wait_until(lambda: answers(lab, "laptop"), 20)
            os.kill(client.pid, signal.SIGKILL)
            client.process.wait(10)
            wait_until(lambda: answers(lab, "shop"), 20)
        kubectl(lab, "delete", "lease", "-l", "ktnet.dev/command=exchange")
        done = subprocess.run(
            lab.exec(*KTNET, "recover", "service/shop", "-n", "demo"), check=False
        )
        assert done.returncode == 0
        assert answers(lab, "shop")
        kubectl(lab, "delete", "jobs", "-l", "ktnet.dev/command=exchange")
    wait_until(lambda: left_behind(lab, before) == [], 20)


def answers(lab: Lab, name: str, service: str = SHOP) -> bool:
    return call(lab, service, 80, "once", "id+1").get("answer", "").startswith(f"{name} ")


@pytest.mark.timeout(600 if SOAK else 120)
@pytest.mark.parametrize("mode", ["scale", "selector"])
def test_a_cut_tunnel_comes_back_and_its_callers_do_not_hang(lab: Lab, mode: str) -> None:
    """Those whose connection it cuts are reset. Who comes later gets to the origin, or, where
    there is none, is sent away at once. The figures are printed."""
    before = read_state(lab)
    options = ("--expose", "8080", "--mode", mode)
    cuts = []
    with open_app(lab, 8080), open_command(lab, "exchange", "shop", *options) as client:
        client.wait_for("ready")
        wait_until(lambda: mode == "selector" or not pods_of_shop(lab)[1:], 20)
        with open_loop(lab, SHOP, 80) as found:
            for _ in range(CUTS):
                start_s = time.time()
                lab.fault("forwards", deed="cut")
                cuts.append((start_s, time.time()))
                client.wait_for("is back")
                wait_until(lambda: answers(lab, "laptop"), 20)
        code, err = client.end()
        assert code == 0, err
    failures = found.pop("failures")
    later = [each for each in failures if not is_under_way(each, cuts)]
    errors = Counter(error for *_, error in failures)
    # A node refuses one caller about one connection a second (icmp(7), icmp_ratelimit); of the rest
    # the SYN is lost, and sent again after 1 s, 3 s, 7 s. That is no hang of a connection.
    hung = [each for each in failures if each[1] is not None and each[2] - each[1] > 5]
    print(f"{mode}, {CUTS} cuts: {found}, {len(later)} not cut off, {dict(errors)}")
    if mode == "selector":
        assert later == []
    assert hung == []
    assert "TimeoutError()" not in errors
    assert left_behind(lab, before) == []


def is_under_way(failure: list[Any], cuts: list[tuple[float, float]]) -> bool:
    """Whether that connection was there at one of the cuts."""
    began_s, _, ended_s, _ = failure
    return any(began_s <= end_s and start_s <= ended_s for start_s, end_s in cuts)


def test_a_service_whose_selector_is_reset_leads_here_again(lab: Lab) -> None:
    """By whom, is said at the start where the Service bears a mark."""
    mark = "helm.toolkit.fluxcd.io/name"
    kubectl(lab, "label", "service", "shop", f"{mark}=shop")
    before = read_state(lab)
    selector = read_object(lab, "services", "shop")["spec"]["selector"]
    with open_app(lab, 8080):
        options = ("--expose", "8080", "--mode", "selector")
        with open_command(lab, "exchange", "service/shop", *options) as client:
            client.wait_for("Flux keeps service/shop")
            client.wait_for("ready")
            patch = [{"op": "replace", "path": "/spec/selector", "value": selector}]
            kubectl(lab, "patch", "service", "shop", "--type=json", "-p", json.dumps(patch))
            client.wait_for("reset the selector")
            wait_until(lambda: answers(lab, "laptop"), 20)
            assert client.end()[0] == 0
    assert left_behind(lab, before) == []
    kubectl(lab, "label", "service", "shop", f"{mark}-")


def test_somebody_else_who_puts_it_back_ends_it(lab: Lab) -> None:
    before = read_state(lab)
    exchanging = open_command(lab, "exchange", "shop", "--expose", "8080")
    with open_app(lab, 8080), exchanging as client:
        client.wait_for("ready")
        ask_command(lab, "recover", "shop", "-n", "demo", "--force")
        code, err = client.wait()
        assert (code, "put deployment/shop back" in err) == (10, True), err
    assert left_behind(lab, before) == []


def test_whatever_happens_meanwhile_it_comes_back_and_goes_back(lab: Lab) -> None:
    """Marked by GitOps controllers and scaled by an autoscaler, which are named; others write the
    Deployment at the wrong moments, the tunnel is cut, and the API server restarted."""
    tracked = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:demo/shop"}
    flux = "kustomize.toolkit.fluxcd.io"
    applied = {f"{flux}/name": "apps", f"{flux}/namespace": "flux-system"}
    patch_shop(lab, {"metadata": {"annotations": tracked, "labels": applied}})
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    spec = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 4}
    autoscaler = "/apis/autoscaling/v2/namespaces/demo/horizontalpodautoscalers"
    ask(lab, "POST", autoscaler, {"metadata": {"name": "busy"}, "spec": spec})
    before = read_state(lab)
    with open_app(lab, 8080), open_command(lab, "exchange", "shop", "--expose", "8080") as client:
        client.wait_for("Argo CD keeps deployment/shop")
        client.wait_for("Flux keeps deployment/shop")
        client.wait_for("HorizontalPodAutoscaler busy scales deployment/shop")
        storm(lab)
        client.wait_for("ready")
        patch_shop(lab, {"metadata": {"labels": {"seen": "meanwhile"}}})
        lab.fault("forwards", deed="cut")
        client.wait_for("is back")
        wait_until(lambda: answers(lab, "laptop"), 20)
        lab.fault("restart-api", seconds=1)
        client.wait_for("is back")
        wait_until(lambda: answers(lab, "laptop"), 20)
        patch_shop(lab, {"metadata": {"labels": {"seen": None}}})
        storm(lab)
        code, err = client.end()
        assert code == 0, err
        assert [each["done"] for each in lab.fault("show")["requests"]] == [3, 3]
        lab.fault("clear")
    assert left_behind(lab, before) == []
    ask(lab, "DELETE", f"{autoscaler}/busy")


def patch_shop(lab: Lab, patch: dict[str, Any]) -> None:
    ask(lab, "PATCH", "/apis/apps/v1/namespaces/demo/deployments/shop", patch)


def storm(lab: Lab) -> None:
    """The next of its patches come too late, three times in a row."""
    lab.fault(
        "on-request",
        deed="refuse",
        status=409,
        times=3,
        method="PATCH",
        path="*/deployments/shop",
        agent="ktnet/*",
    )


def test_a_workload_that_is_being_deleted_is_let_go(lab: Lab) -> None:
    path = "/apis/apps/v1/namespaces/demo/deployments"
    objects = build_workload("Deployment", "leaving", 0)
    objects[0]["metadata"]["finalizers"] = ["example.com/wait"]
    ask(lab, "POST", path, objects[0])
    ask(lab, "POST", "/api/v1/namespaces/demo/services", objects[1])
    ask(lab, "DELETE", f"{path}/leaving")
    before = read_state(lab)
    code, err = fails(lab, "exchange", "leaving", "--expose", "8080")
    assert (code, "deployment/leaving is being deleted" in err) == (10, True), err
    assert left_behind(lab, before) == []
    ask(lab, "PATCH", f"{path}/leaving", {"metadata": {"finalizers": []}})
    ask(lab, "DELETE", "/api/v1/namespaces/demo/services/leaving")


def test_a_workload_at_zero_is_exchanged_and_stays_there(lab: Lab) -> None:
    for path, obj in zip(("apps/v1", "v1"), build_workload("Deployment", "idle", 0), strict=True):
        group = f"/apis/{path}" if "/" in path else f"/api/{path}"
        plural = f"{obj['kind'].lower()}s"
        ask(lab, "POST", f"{group}/namespaces/demo/{plural}", obj)
    before = read_state(lab)
    with open_app(lab, 8080), open_command(lab, "exchange", "idle", "--expose", "8080") as client:
        client.wait_for("deployment/idle is at 0 of 0")
        client.wait_for("ready")
        wait_until(lambda: answers(lab, "laptop", "idle.demo.svc.cluster.local"), 20)
        assert client.end()[0] == 0
    assert left_behind(lab, before) == []
    kubectl(lab, "delete", "service/idle")
    # The Deployment alone: nobody sends requests to it.
    code, err = fails(lab, "exchange", "idle", "--expose", "8080")
    assert (code, "no Service sends requests to deployment/idle" in err) == (11, True), err
    kubectl(lab, "delete", "deploy/idle")


def test_what_can_not_begin_changes_nothing(lab: Lab) -> None:
    before = read_state(lab)
    assert fails(lab, "exchange", "nothing", "--expose", "8080")[0] == 11
    assert fails(lab, "exchange", "pod/db-0", "--expose", "8080")[0] == 2
    assert fails(lab, "exchange", "shop", "--expose", "8080:nope")[0] == 11
    for wrong in ("8080:0", "70000", "port", "8080:80,8081:80"):
        assert fails(lab, "exchange", "shop", "--expose", wrong)[0] == 2
    assert fails(lab, "exchange", "service/shop", "--expose", "8080")[0] == 2
    assert left_behind(lab, before) == []
