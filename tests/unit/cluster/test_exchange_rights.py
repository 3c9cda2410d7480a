"""What rights an exchange takes to have its shadow put back by itself, one by one."""

import asyncio

import pytest
from lab_cluster import open_cluster, open_limited_api
from test_exchange_objects import add_workload

from ktnet.cluster.exchange.restoring import Restoring
from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.rights import Right, build_rules, list_for_restoring, list_required
from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.cluster.shadow.session import open_shadow_session
from ktnet.session.cluster import Cluster as SessionCluster
from ktnet.session.exchange_plan import plan_restoring

GIVEN_AWAY = (Right("get", "deployments"), Right("patch", "deployments"))
"""What the shadow's Role gives has to be its giver's."""
ALL = (*list_required("exchange"), *list_for_restoring(), *GIVEN_AWAY)
RESTORING = Restoring("deployments", "tomcat", "scale")


def run(scenario):
    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            await scenario(cluster)

    asyncio.run(main())


class Report:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


async def plan(cluster, rules, service_account=""):
    """What is planned, and what is said of it."""
    report = Report()
    async with open_limited_api(cluster, rules) as api:
        found = await plan_restoring(
            SessionCluster(api, "demo"),
            Subject("deployments", cluster.store.get("deployments", "demo", "tomcat")),
            "scale",
            service_account,
            report,
        )
    return found, report.notes


def test_with_all_of_them_it_does_and_nothing_was_made_to_find_out():
    async def scenario(cluster):
        add_workload(cluster)
        assert await plan(cluster, build_rules(ALL)) == (RESTORING, [])
        made = [
            each["metadata"]["name"]
            for plural in ("serviceaccounts", "roles", "rolebindings")
            for each in cluster.store.list(plural, "demo")
        ]
        assert not [name for name in made if name.startswith("ktnet-")]

    run(scenario)


@pytest.mark.parametrize(
    "missing",
    [*list_for_restoring(), *GIVEN_AWAY],
    ids=lambda right: f"{right.verb} {right.resource}",
)
def test_without_one_of_them_it_does_not_and_says_so(missing):
    async def scenario(cluster):
        add_workload(cluster)
        rules = build_rules(right for right in ALL if right != missing)
        found, (said,) = await plan(cluster, rules)
        assert found is None
        assert said.startswith("no right to give the shadow a Role: should this machine crash")
        assert "`ktnet recover deployment/tomcat -n demo`" in said

    run(scenario)


def test_an_account_that_the_user_names_is_given_no_rights():
    async def scenario(cluster):
        add_workload(cluster)
        found, (said,) = await plan(cluster, build_rules(ALL), service_account="builder")
        assert found is None
        assert said.startswith("the shadow has --service-account, which is given no rights")

    run(scenario)


def test_whose_images_need_secrets_has_them_in_its_own_account():
    async def scenario(cluster):
        add_workload(cluster)
        default = cluster.store.get("serviceaccounts", "demo", "default")
        secrets = {"imagePullSecrets": [{"name": "registry"}]}
        cluster.store.update("serviceaccounts", "demo", "default", default | secrets)
        found, _ = await plan(cluster, build_rules(ALL))
        assert found == Restoring("deployments", "tomcat", "scale", ("registry",))

    run(scenario)


def test_these_rights_are_enough_and_each_is_used():
    async def scenario(cluster):
        add_workload(cluster)
        spec = ShadowSpec("demo", "ktnet-shadow:0", "k", timeout_s=10, restoring=RESTORING)
        async with open_limited_api(cluster, build_rules(ALL)) as api:
            cluster.wanted.clear()
            async with open_shadow_session(api, spec, lambda _: None) as session:
                (job,) = cluster.store.list("jobs", "demo")
                assert job["spec"]["suspend"] is False
                uids = {job["metadata"]["uid"]}
                for plural in ("serviceaccounts", "roles", "rolebindings"):
                    obj = cluster.store.get(plural, "demo", session.name)
                    assert {each["uid"] for each in obj["metadata"]["ownerReferences"]} == uids
                (rule,) = cluster.store.get("roles", "demo", session.name)["rules"]
                assert rule == {
                    "apiGroups": ["apps"],
                    "resources": ["deployments"],
                    "resourceNames": ["tomcat"],
                    "verbs": ["get", "patch"],
                }
                (pod,) = cluster.store.list("pods", "demo")
                assert pod["spec"]["serviceAccountName"] == session.name
                assert pod["spec"]["automountServiceAccountToken"] is False
                await api.delete("jobs", session.name, namespace="demo")
                await session.revive(lambda _: None)
        used = {
            Right(each.verb, f"{each.resource}/{each.subresource}".rstrip("/"))
            for each in cluster.wanted
            if each.namespace and "reviews" not in each.resource
        }
        assert set(list_for_restoring()) - used == set()

    run(scenario)


@pytest.mark.parametrize("plural", ["serviceaccounts", "roles", "rolebindings"])
def test_whose_account_is_refused_after_all_goes_without_and_nothing_of_it_stays(plural):
    async def scenario(cluster):
        add_workload(cluster)
        rules = build_rules(each for each in ALL if each != Right("create", plural))
        spec = ShadowSpec("demo", "ktnet-shadow:0", "k", timeout_s=10, restoring=RESTORING)
        async with (
            open_limited_api(cluster, rules) as api,
            open_shadow_session(api, spec, lambda _: None) as session,
        ):
            assert plural in session.account_refusal
            assert (session.spec.restoring, session.spec.idle_s) == (None, 0)
            (job,) = cluster.store.list("jobs", "demo")
            assert job["metadata"]["name"] == f"{session.name}-2"
            (pod,) = cluster.store.list("pods", "demo")
            assert pod["spec"].get("serviceAccountName") in {None, "default"}
            lease = cluster.store.get("leases", "demo", session.name)
            (owner,) = lease["metadata"]["ownerReferences"]
            assert owner["uid"] == job["metadata"]["uid"]
        assert cluster.store.list("jobs", "demo") == []

    run(scenario)
