"""What a shadow does by itself with the account that it was given, in a pod of a lab."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import ask, read_object
from connect_client import Client, wait_until
from exchange_state import annotation_of, count_ready, left_behind, read_state
from forked_command import ask_command
from inbound_scene import call, kubectl, open_app, open_command

from ktnet.cluster.rights import build_rules, list_for_exchange, list_required
from ktnet.lab.harness import Lab, open_lab
from ktnet.wire.release import VERSION
from ktnet.wire.shadow import ACCOUNT

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the objects"),
]

WEB = ("web.demo.svc.cluster.local", 80)
OF_EXCHANGE = ("-l", "ktnet.dev/command=exchange")

ASK = """
import asyncio, json, os
from ktnet.shadow.api.account import find_account
from ktnet.shadow.api.answer import ApiRefused
from ktnet.shadow.api.client import ApiClient

async def main():
    client = ApiClient(find_account(os.environ))
    said = [(await client.get("deployments", "demo", "tomcat"))["metadata"]["name"]]
    change = [{"op": "add", "path": "/metadata/labels/seen", "value": "yes"}]
    await client.patch("deployments", "demo", "tomcat", change, dry_run=True)
    said.append((await client.patch("deployments", "demo", "tomcat", change))["metadata"]["labels"])
    wrong = [{"op": "test", "path": "/metadata/labels/seen", "value": "no"}]
    for attempt in (
        client.patch("deployments", "demo", "tomcat", wrong),
        client.get("deployments", "demo", "web"),
        client.delete("deployments", "demo", "tomcat"),
        client.list_all("deployments", "demo"),
    ):
        try:
            await attempt
        except ApiRefused as error:
            said.append(error.status)
    print(json.dumps(said))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"restore-{os.getpid()}", "--laptops", "2") as lab:
        yield lab


def test_an_account_in_a_pod_may_do_what_its_role_gives_and_no_more(lab: Lab) -> None:
    core, rbac = "/api/v1/namespaces/demo", "/apis/rbac.authorization.k8s.io/v1/namespaces/demo"
    metadata = {"name": "asker"}
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["tomcat"]}
    ask(lab, "POST", f"{core}/serviceaccounts", {"metadata": metadata})
    role = {"metadata": metadata, "rules": [rule | {"verbs": ["get", "patch"]}]}
    ask(lab, "POST", f"{rbac}/roles", role)
    subject = {"kind": "ServiceAccount", "name": "asker", "namespace": "demo"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "asker"}
    binding = {"metadata": metadata, "subjects": [subject], "roleRef": reference}
    ask(lab, "POST", f"{rbac}/rolebindings", binding)
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": authority},
    ]
    spec: dict[str, Any] = {
        "serviceAccountName": "asker",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 65534, "runAsNonRoot": True},
        "volumes": [{"name": "account", "projected": {"sources": sources}}],
        "containers": [
            {
                "name": "main",
                "image": f"ktnet-shadow:{VERSION}",
                "command": ["python", "-c", ASK],
                "securityContext": {"readOnlyRootFilesystem": True},
                "volumeMounts": [{"name": "account", "mountPath": ACCOUNT, "readOnly": True}],
            }
        ],
    }
    ask(lab, "POST", f"{core}/pods", {"metadata": metadata, "spec": spec})
    pod = f"{core}/pods/asker"
    wait_until(lambda: ask(lab, "GET", pod)["status"]["phase"] in {"Succeeded", "Failed"}, 60)
    name, labels, *refused = json.loads(ask(lab, "GET", f"{pod}/log"))
    assert (name, labels["seen"], refused) == ("tomcat", "yes", [422, 403, 403, 403])


# -- a whole exchange -----------------------------------------------------------------------------


def crash(client: Client) -> None:
    client.process.send_signal(signal.SIGKILL)
    client.process.wait(10)


def test_laptops_that_crash_or_sleep_leave_all_as_it_was_without_any_command(lab: Lab) -> None:
    """Two of them, on two workloads of one namespace, each in a mode; the one that crashes has a
    shadow whose Job somebody has deleted, the one that sleeps is told when it wakes up."""
    before = read_state(lab)
    scaled = ("exchange", "tomcat", "--expose", "8080", "--idle", "8")
    led = ("exchange", "service/web", "--expose", "8080", "--mode", "selector", "--idle", "8")
    led += ("--on-disconnect", "refuse")
    with (
        open_app(lab, 8080),
        open_app(lab, 8080, laptop=2),
        open_command(lab, *scaled) as one,
        open_command(lab, *led, laptop=2) as two,
    ):
        for client in (one, two):
            client.wait_for("by itself, 8 s without this machine")
            client.wait_for("ready")
        assert read_object(lab, "deployments", "tomcat")["spec"]["replicas"] == 0
        session = json.loads(annotation_of(lab, "deployments", "tomcat") or "")["session"]
        wait_until(lambda: call(lab, *WEB, "once", "id+1").get("answer", "")[:7] == "laptop ", 20)
        two.process.send_signal(signal.SIGSTOP)
        lab.fault("forwards", deed="cut", laptop=2)
        refused = {"error": "ConnectionRefusedError"}
        wait_until(lambda: call(lab, *WEB, "once", "id+1") == refused, 20)
        kubectl(lab, "delete", "job", session)
        one.wait_for("is back")
        log = f"job/{session}-2"
        wait_until(lambda: "ktnet-restores v1 yes" in kubectl(lab, "logs", log), 20)
        crash(one)
        start_s = time.monotonic()
        wait_until(lambda: annotation_of(lab, "deployments", "tomcat") is None, 30)
        put_back_s = time.monotonic() - start_s
        wait_until(lambda: count_ready(lab, "tomcat") == 1)
        ready_s = time.monotonic() - start_s
        wait_until(lambda: annotation_of(lab, "services", "web") is None, 30)
        two.process.send_signal(signal.SIGCONT)
        code, err = two.wait()
        assert (code, "has put service/web back" in err) == (10, True), err
    wait_until(lambda: left_behind(lab, before) == [], 40)
    gone_s = time.monotonic() - start_s
    print(f"after a crash, idle 8 s: put back {put_back_s:.1f} s, ready {ready_s:.1f} s, ", end="")
    print(f"nothing left {gone_s:.1f} s")


def test_who_may_not_make_roles_is_told_and_the_workload_waits_for_a_command(lab: Lab) -> None:
    rights = (*list_required("exchange"), *list_for_exchange("deployments"))
    kubeconfig = str(lab.user("eve", *build_rules(rights)))
    before = read_state(lab)
    options = ("--expose", "8080", "--idle", "5", "--kubeconfig", kubeconfig)
    with open_app(lab, 8080):
        with open_command(lab, "exchange", "tomcat", *options) as client:
            client.wait_for("no right to give the shadow a Role")
            client.wait_for("ready")
            crash(client)
            start_s = time.monotonic()
        (pod,) = json.loads(kubectl(lab, "get", "pods", *OF_EXCHANGE, "-o", "json"))["items"]
        name = pod["metadata"]["name"]
        assert pod["spec"]["serviceAccountName"] == "default"
        assert "volumes" not in pod["spec"]
        log = f"/api/v1/namespaces/demo/pods/{name}/log"
        wait_until(lambda: "client gone" in ask(lab, "GET", log), 20)
        wait_until(lambda: not is_ready(read_object(lab, "pods", name)), 20)
        print(f"after a crash, no Role: not Ready {time.monotonic() - start_s:.1f} s")
    assert annotation_of(lab, "deployments", "tomcat") is not None
    # From another machine, by somebody else; the Lease says that it is alive yet.
    ask_command(lab, "recover", "tomcat", "-n", "demo", "--force", laptop=2)
    kubectl(lab, "delete", "jobs", *OF_EXCHANGE)
    wait_until(lambda: left_behind(lab, before) == [], 20)


def test_a_role_that_is_refused_after_all_is_gone_without(lab: Lab) -> None:
    """As it is where something judges a RoleBinding, but not its dry run."""
    before = read_state(lab)
    fault = {"method": "POST", "path": "*/rolebindings", "agent": "ktnet/*"}
    # The first one is the dry run.
    lab.fault("on-request", deed="refuse", status=403, number=2, **fault)
    with open_app(lab, 8080), open_command(lab, "exchange", "tomcat", "--expose", "8080") as client:
        client.wait_for("was refused its account")
        client.wait_for("ready")
        assert lab.fault("show")["requests"][0]["done"] == 1
        lab.fault("clear")
        (pod,) = json.loads(kubectl(lab, "get", "pods", *OF_EXCHANGE, "-o", "json"))["items"]
        assert pod["spec"]["serviceAccountName"] == "default"
        names = kubectl(lab, "get", "sa,roles,rolebindings", *OF_EXCHANGE, "-o", "name")
        assert names == ""
        code, err = client.end()
        assert code == 0, err
    assert left_behind(lab, before) == []


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"]["conditions"]
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
