"""What a shadow does by itself with the account that it was given, in a pod of a lab."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import ask
from connect_client import wait_until

from ktnet.lab.harness import Lab, open_lab
from ktnet.wire.release import VERSION
from ktnet.wire.shadow import ACCOUNT

pytestmark = pytest.mark.lab

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
    with open_lab(f"restore-{os.getpid()}") as lab:
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
