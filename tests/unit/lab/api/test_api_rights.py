"""Who may do what: roles and bindings, certificates, ServiceAccounts, acting as somebody else."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest
from apilab import ADMIN, CERTIFICATES, LIMITED, build_pod, open_lab, run_pod

RBAC = "/apis/rbac.authorization.k8s.io/v1"
DEMO = "/api/v1/namespaces/demo"
DEPLOYMENTS = "/apis/apps/v1/namespaces/demo/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/demo/leases"


def with_lab(scenario, **options):
    async def run():
        async with open_lab(**options) as lab, asyncio.timeout(30):
            await scenario(lab)

    asyncio.run(run())


def rule(verbs, *resources, group="", names=()):
    found = {"verbs": verbs.split(), "apiGroups": [group], "resources": list(resources)}
    return {**found, "resourceNames": list(names)} if names else found


def grant(store, rules, *, name="some", subject=None, namespace="demo"):
    """A Role with these rules, bound to the user of LIMITED."""
    store.create("roles", namespace, {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"kind": "Role", "name": name},
        "subjects": [subject or {"kind": "User", "name": "limited"}],
    }
    store.create("rolebindings", namespace, binding)


REPLICAS = {"spec": {"replicas": 1}}
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.mark.parametrize(
    ("method", "path", "rules", "status"),
    [
        ("GET", "/pods", [rule("list", "pods")], 200),
        ("GET", "/pods", [rule("get watch", "pods")], 403),
        ("GET", "/pods", [rule("*", "*", group="apps")], 403),
        ("GET", "/pods", [rule("*", "*", group="*")], 200),
        ("GET", "/pods?watch=1&timeoutSeconds=1", [rule("watch", "pods")], 200),
        ("GET", "/pods?watch=1&timeoutSeconds=1", [rule("list", "pods")], 403),
        ("GET", "/pods/web", [rule("get", "pods", names=["web"])], 200),
        ("GET", "/pods/web", [rule("get", "pods", names=["other"])], 403),
        ("GET", "/pods/nosuch", [rule("get", "pods")], 404),
        ("GET", "/pods/nosuch", [], 403),
        ("GET", "/pods", [rule("list", "pods", names=["web"])], 403),
        ("GET", "/pods?fieldSelector=metadata.name%3Dweb", [rule("list", "pods", names=["web"])],
         200),
        ("GET", "/pods/web/log", [rule("get", "pods")], 403),
        ("GET", "/pods/web/log", [rule("get", "pods/log")], 400),
        ("GET", "/pods/web/log", [rule("get", "*/log")], 400),
        ("GET", "/pods/web/log", [rule("get", "pods/*")], 403),
        ("DELETE", "/pods", [rule("delete", "pods")], 403),
        ("DELETE", "/pods", [rule("deletecollection", "pods")], 200),
    ],
)  # fmt: skip
def test_rules_allow_what_they_say_and_no_more(method, path, rules, status):
    async def scenario(lab):
        lab.store.create("pods", "demo", build_pod("web"))
        lab.store.patch("pods", "demo", "web", {"spec": {"nodeName": "n"}}, subresource="binding")
        grant(lab.store, rules)
        answer = await lab.ask(method, DEMO + path, token=LIMITED, raw=True)
        assert answer[0] == status, answer

    with_lab(scenario)


@pytest.mark.parametrize(
    ("resources", "status"),
    [("deployments/scale", 200), ("deployments", 403), ("deployments/*", 403), ("*/scale", 200)],
)
def test_the_scale_is_a_right_of_its_own(resources, status):
    async def scenario(lab):
        template = {"metadata": {"labels": {"a": "b"}}, "spec": build_pod("x")["spec"]}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        lab.store.create("deployments", "demo", {"metadata": {"name": "web"}, "spec": spec})
        grant(lab.store, [rule("patch", resources, group="apps")])
        path = f"{DEPLOYMENTS}/web/scale"
        found, answer = await lab.ask("PATCH", path, REPLICAS, token=LIMITED, headers=MERGE)
        assert found == status, answer

    with_lab(scenario)


@pytest.mark.parametrize(("verbs", "status"), [("update", 403), ("update create", 201)])
def test_a_put_that_creates_needs_the_right_to_create(verbs, status):
    async def scenario(lab):
        grant(lab.store, [rule(verbs, "leases", group="coordination.k8s.io")])
        lease = {"metadata": {"name": "new"}}
        found, answer = await lab.ask("PUT", f"{LEASES}/new", lease, token=LIMITED)
        assert found == status, answer

    with_lab(scenario)


def test_rights_are_of_a_namespace_or_of_the_cluster():
    async def scenario(lab):
        lab.store.create("namespaces", None, {"metadata": {"name": "other"}})
        lab.store.create("clusterroles", None, {
            "metadata": {"name": "reader"},
            "rules": [rule("list", "pods"), {"verbs": ["get"], "nonResourceURLs": ["/metrics/*"]}],
        })  # fmt: skip
        binding = {
            "metadata": {"name": "reader"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "Group", "name": "system:authenticated"}],
        }
        lab.store.create("rolebindings", "demo", binding)
        assert (await lab.ask("GET", f"{DEMO}/pods", token=LIMITED))[0] == 200
        assert (await lab.ask("GET", "/api/v1/namespaces/other/pods", token=LIMITED))[0] == 403
        assert (await lab.ask("GET", "/api/v1/pods", token=LIMITED))[0] == 403
        assert (await lab.ask("GET", "/metrics/x", token=LIMITED))[0] == 403
        lab.store.create("clusterrolebindings", None, binding)
        assert (await lab.ask("GET", "/api/v1/pods", token=LIMITED))[0] == 200
        assert (await lab.ask("GET", "/metrics/x", token=LIMITED, raw=True))[0] == 404
        lab.store.delete("clusterrolebindings", None, "reader")
        assert (await lab.ask("GET", "/api/v1/pods", token=LIMITED))[0] == 403

    with_lab(scenario)


def test_access_reviews_say_why():
    async def scenario(lab):
        grant(lab.store, [rule("get list", "pods")])
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        wanted = {"verb": "get", "namespace": "demo", "resource": "pods"}
        asked = {"spec": {"resourceAttributes": wanted}}
        status, answer = await lab.ask("POST", path, asked, token=LIMITED)
        assert (status, answer["status"]) == (201, {
            "allowed": True,
            "reason": 'RBAC: allowed by RoleBinding "some/demo" of Role "some" to User "limited"',
        })  # fmt: skip
        other = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        asked["spec"]["user"] = "limited"
        assert (await lab.ask("POST", other, asked))[1]["status"]["allowed"] is True
        asked["spec"]["user"] = "stranger"
        assert (await lab.ask("POST", other, asked))[1]["status"] == {"allowed": False}
        assert (await lab.ask("POST", other, asked, token=LIMITED))[0] == 403
        rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        asked = {"spec": {"namespace": "demo"}}
        status, answer = await lab.ask("POST", rules, asked, token=LIMITED)
        assert rule("get list", "pods") in answer["status"]["resourceRules"]

    with_lab(scenario)


def test_nobody_grants_what_they_have_not_got():
    async def scenario(lab):
        grant(lab.store, [rule("*", "roles", "rolebindings", group="rbac.authorization.k8s.io")])

        async def create(name, rules):
            return await lab.ask(
                "POST", f"{RBAC}/namespaces/demo/roles",
                {"metadata": {"name": name}, "rules": rules}, token=LIMITED,
            )  # fmt: skip

        held = rule("get", "roles", group="rbac.authorization.k8s.io")
        # `*` on roles holds escalate and bind: then everything may be given.
        assert (await create("all", [rule("get", "secrets")]))[0] == 201
        lab.store.delete("rolebindings", "demo", "some")
        verbs = "create get patch update"
        grant(
            lab.store,
            [rule(verbs, "roles", "rolebindings", group="rbac.authorization.k8s.io")],
            name="writer",
        )
        status, answer = await create("more", [rule("get list", "secrets"), held])
        assert (status, answer["message"]) == (
            403,
            (
                'roles.rbac.authorization.k8s.io "more" is forbidden: user "limited" '
                '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not '
                'currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
            ),
        )
        assert (await create("same", [held]))[0] == 201
        binding = {
            "metadata": {"name": "bound"},
            "roleRef": {"kind": "Role", "name": "all"},
            "subjects": [{"kind": "User", "name": "limited"}],
        }
        path = f"{RBAC}/namespaces/demo/rolebindings"
        assert (await lab.ask("POST", path, binding, token=LIMITED))[0] == 403
        missing = {**binding, "roleRef": {"kind": "Role", "name": "nosuch"}}
        assert (await lab.ask("POST", path, missing, token=LIMITED))[0] == 404
        grant(
            lab.store,
            [rule("bind", "roles", group="rbac.authorization.k8s.io", names=["all"])],
            name="binder",
        )
        assert (await lab.ask("POST", path, binding, token=LIMITED))[0] == 201
        more = {"rules": [held, rule("delete", "secrets")]}
        patched = await lab.ask(
            "PATCH", f"{RBAC}/namespaces/demo/roles/same", more, token=LIMITED, headers=MERGE
        )
        assert patched[0] == 403
        assert lab.store.get("roles", "demo", "same")["rules"] == [held]
        changed = {"roleRef": {"kind": "Role", "name": "same"}}
        status, answer = await lab.ask("PATCH", f"{path}/bound", changed, headers=MERGE)
        assert (status, answer["details"]["causes"][0]["field"]) == (422, "roleRef")

    with_lab(scenario)


def build_client_context(user, groups, directory):
    certificate, key = CERTIFICATES.issue_client(user, groups)
    path = directory / "client.pem"
    path.touch(0o600)
    path.write_text(key + certificate)
    context = ssl.create_default_context(cadata=CERTIFICATES.ca_pem)
    context.load_cert_chain(path)
    return context


def test_a_certificate_is_a_user_and_its_groups(tmp_path):
    async def scenario(lab):
        grant(lab.store, [rule("list", "pods")], subject={"kind": "Group", "name": "readers"})
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        lab.tls = build_client_context("ada", ["readers", "writers"], tmp_path)
        async with aiohttp.ClientSession() as lab.session:
            status, answer = await lab.ask("POST", path, {}, token=None)
            assert (status, answer["status"]["userInfo"]) == (201, {
                "username": "ada", "groups": ["readers", "writers", "system:authenticated"],
            })  # fmt: skip
            assert (await lab.ask("GET", f"{DEMO}/pods", token=None))[0] == 200
            assert (await lab.ask("GET", f"{DEMO}/services", token=None))[0] == 403
            assert {entry.user for entry in lab.server.requests} == {"ada"}

    with_lab(scenario)


def test_a_service_account_comes_with_its_token():
    async def scenario(lab):
        store = lab.store
        pod = run_pod(store, "web")
        subject = {"kind": "ServiceAccount", "name": "default"}
        grant(store, [rule("list", "pods")], subject=subject)
        path = f"{DEMO}/serviceaccounts/default/token"
        status, answer = await lab.ask("POST", path, {"spec": {"expirationSeconds": 900}})
        assert status == 201
        assert answer["spec"]["expirationSeconds"] == 900
        token = answer["status"]["token"]
        assert (await lab.ask("GET", f"{DEMO}/pods", token=token))[0] == 200
        assert (await lab.ask("GET", f"{DEMO}/services", token=token))[0] == 403
        changed = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
        assert (await lab.ask("GET", f"{DEMO}/pods", token=changed))[0] == 401
        other = {"spec": {"audiences": ["https://vault"]}}
        elsewhere = (await lab.ask("POST", path, other))[1]["status"]["token"]
        assert (await lab.ask("GET", f"{DEMO}/pods", token=elsewhere))[0] == 401
        meta = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": meta["uid"]}
        asked = {"spec": {"boundObjectRef": bound}}
        short = (await lab.ask("POST", path, asked))[1]["status"]["token"]
        review = "/apis/authentication.k8s.io/v1/tokenreviews"
        status, answer = await lab.ask("POST", review, {"spec": {"token": short}})
        extra = answer["status"]["user"]["extra"]
        assert extra["authentication.kubernetes.io/pod-name"] == ["web"]
        assert (await lab.ask("GET", f"{DEMO}/pods", token=short))[0] == 200
        store.delete("pods", "demo", "web", grace_s=0)
        assert (await lab.ask("GET", f"{DEMO}/pods", token=short))[0] == 401
        assert (await lab.ask("GET", f"{DEMO}/pods", token=token))[0] == 200
        # The same name is not the same account.
        store.delete("serviceaccounts", "demo", "default")
        store.create("serviceaccounts", "demo", {"metadata": {"name": "default"}})
        assert (await lab.ask("GET", f"{DEMO}/pods", token=token))[0] == 401
        for spec, wanted in (({"expirationSeconds": 599}, 422), ({"boundObjectRef": {}}, 422)):
            assert (await lab.ask("POST", path, {"spec": spec}))[0] == wanted
        assert (await lab.ask("POST", path, {}, token=LIMITED))[0] == 403
        assert (await lab.ask("GET", path))[0] == 405

    with_lab(scenario)


@pytest.mark.parametrize(
    "token",
    ["a.b.c", "..", "e30.e30." + "A" * 86, "e30.e30", "x" * 5000, "é.è.ü", "e30.e30.!!!"],
)
def test_any_bytes_as_a_token_are_refused(token):
    async def scenario(lab):
        assert (await lab.ask("GET", "/version", token=token))[0] == 401

    with_lab(scenario)


def test_acting_as_somebody_else_is_a_right():
    async def scenario(lab):
        grant(lab.store, [rule("list", "pods")])
        acting = {"Impersonate-User": "limited"}
        assert (await lab.ask("GET", f"{DEMO}/pods", headers=acting))[0] == 200
        status, answer = await lab.ask("GET", f"{DEMO}/services", headers=acting)
        assert (status, 'User "limited" cannot list' in answer["message"]) == (403, True)
        status, answer = await lab.ask(
            "GET", f"{DEMO}/pods", token=LIMITED, headers={"Impersonate-User": "x"}
        )
        assert (status, answer["message"]) == (
            403,
            (
                'pods is forbidden: User "limited" cannot impersonate-on:user-info:list resource '
                '"pods" in API group "" in the namespace "demo"'
            ),
        )
        account = {"Impersonate-User": "system:serviceaccount:demo:default"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = (await lab.ask("POST", path, {}, headers=account))[1]
        assert answer["status"]["userInfo"]["groups"] == [
            "system:serviceaccounts", "system:serviceaccounts:demo", "system:authenticated",
        ]  # fmt: skip
        assert (await lab.ask("POST", path, {}, headers={"Impersonate-Group": "g"}))[0] == 500

    with_lab(scenario)


def test_the_admin_needs_no_role():
    async def scenario(lab):
        for plural in ("clusterroles", "clusterrolebindings"):
            for obj in lab.store.list(plural):
                lab.store.delete(plural, None, obj["metadata"]["name"])
        assert (await lab.ask("GET", "/api/v1/nodes", token=ADMIN))[0] == 200
        assert (await lab.ask("GET", "/api", token=LIMITED))[0] == 403

    with_lab(scenario)


def test_keys_are_not_shown():
    assert "PRIVATE" not in repr(CERTIFICATES)
    assert "Key object" not in repr(CERTIFICATES)
