"""Taking, giving back, recovering and cleaning, against the lab's API server."""

import asyncio
import copy
from datetime import UTC, datetime, timedelta

import pytest
from lab_cluster import open_cluster

from ktnet.cluster.cleaning import START_S, Taken, find_leftovers
from ktnet.cluster.exchange import taking as exchange
from ktnet.cluster.exchange.taking import give_back, take_by_scale, take_by_selector
from ktnet.cluster.exchange.workload import (
    Subject,
    find_autoscaler,
    find_gitops,
    find_services,
    find_subject,
)
from ktnet.cluster.holding import describe_silence, parse_holding
from ktnet.cluster.leftovers import list_leftovers, list_taken, recover, remove
from ktnet.cluster.shadow.manifests import HOLDER_ANNOTATION, build_labels, build_micro_time
from ktnet.errors import Conflict, NotFound, UsageError
from ktnet.wire.record import ANNOTATION, Record

ME, OTHER = "ada@laptop", "bob@desk"
VOLATILE = ("resourceVersion", "generation", "managedFields")


def run(scenario):
    async def main():
        async with asyncio.timeout(60), open_cluster() as cluster:
            await scenario(cluster)

    asyncio.run(main())


def add_workload(cluster, plural="deployments", name="tomcat", replicas=3, **metadata):
    kind = {"deployments": "Deployment", "statefulsets": "StatefulSet"}[plural]
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name, "tier": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    }
    if plural == "statefulsets":
        spec["serviceName"] = name
    return cluster.store.create(
        plural,
        "demo",
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        },
    )


def add_service(cluster, name="tomcat", selector=None, **spec):
    return cluster.store.create(
        "services",
        "demo",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "ports": [{"port": 80}],
                **({"selector": selector} if selector else {}),
                **spec,
            },
        },
    )


def add_lease(cluster, session, holder=ME, silent_s=0.0):
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=silent_s))
    cluster.store.create(
        "leases",
        "demo",
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": session, "labels": build_labels(session)},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": 60,
                "acquireTime": renewed,
                "renewTime": renewed,
            },
        },
    )


def stable(obj):
    """What has to be as it was."""
    obj = copy.deepcopy(obj)
    for key in VOLATILE:
        obj["metadata"].pop(key, None)
    if not obj["metadata"].get("annotations"):
        obj["metadata"].pop("annotations", None)
    return obj


def read(cluster, plural="deployments", name="tomcat"):
    return cluster.store.get(plural, "demo", name)


@pytest.mark.parametrize("plural", ["deployments", "statefulsets"])
@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_scaled_to_nothing_and_back(plural, replicas):
    async def scenario(cluster):
        add_workload(cluster, plural, replicas=replicas, annotations={"a": "b"})
        before = stable(read(cluster, plural))
        subject = await find_subject(cluster.api, "demo", "tomcat")
        assert subject.plural == plural
        record = await take_by_scale(cluster.api, "demo", subject, session="s", holder=ME)
        taken = read(cluster, plural)
        assert taken["spec"]["replicas"] == 0
        assert ANNOTATION in taken["metadata"]["annotations"]
        assert record.replicas == replicas
        assert await give_back(cluster.api, "demo", subject, record)
        assert stable(read(cluster, plural)) == before
        assert not await give_back(cluster.api, "demo", subject, record)  # once is enough

    run(scenario)


def test_a_selector_is_replaced_whole_and_back():
    async def scenario(cluster):
        add_service(cluster, selector={"app": "tomcat", "tier": "web"})
        before = stable(read(cluster, "services"))
        subject = await find_subject(cluster.api, "demo", "svc/tomcat", services=True)
        record = await take_by_selector(
            cluster.api, "demo", subject, {"ktnet.dev/session": "s"}, session="s", holder=ME
        )
        assert read(cluster, "services")["spec"]["selector"] == {"ktnet.dev/session": "s"}
        assert await give_back(cluster.api, "demo", subject, record)
        assert stable(read(cluster, "services")) == before

    run(scenario)


@pytest.mark.parametrize(
    ("spec", "words"),
    [({}, "no selector"), ({"type": "ExternalName", "externalName": "x.y"}, "x.y")],
)
def test_services_that_follow_no_selector_are_refused(spec, words):
    async def scenario(cluster):
        add_service(cluster, **spec)
        subject = await find_subject(cluster.api, "demo", "service/tomcat", services=True)
        with pytest.raises(UsageError, match=words):
            await take_by_selector(cluster.api, "demo", subject, {"a": "b"}, session="s", holder=ME)

    run(scenario)


def test_what_somebody_holds_is_not_taken():
    async def scenario(cluster):
        add_workload(cluster)
        add_lease(cluster, "theirs", OTHER)
        subject = await find_subject(cluster.api, "demo", "deployment/tomcat")
        await take_by_scale(cluster.api, "demo", subject, session="theirs", holder=OTHER)
        subject = await find_subject(cluster.api, "demo", "tomcat")
        with pytest.raises(Conflict, match=OTHER) as refused:
            await take_by_scale(cluster.api, "demo", subject, session="mine", holder=ME)
        assert "--force" in refused.value.hint
        cluster.store.delete("leases", "demo", "theirs")
        with pytest.raises(Conflict, match="gone") as refused:
            await take_by_scale(cluster.api, "demo", subject, session="mine", holder=ME)
        assert "ktnet recover" in refused.value.hint

    run(scenario)


def test_a_writer_in_between_costs_an_attempt_and_nothing_else():
    async def scenario(cluster):
        add_workload(cluster, replicas=2)
        subject = await find_subject(cluster.api, "demo", "tomcat")
        # The object moves on after it was read: what is stored has to be the new number.
        await cluster.api.patch(
            "deployments", "tomcat", {"spec": {"replicas": 5}}, kind="merge", namespace="demo"
        )
        record = await take_by_scale(cluster.api, "demo", subject, session="s", holder=ME)
        assert record.replicas == 5
        assert await give_back(cluster.api, "demo", subject, record)
        assert read(cluster)["spec"]["replicas"] == 5

    run(scenario)


def test_a_storm_of_writers_leaves_all_as_it_was(monkeypatch):
    monkeypatch.setattr(exchange, "MOST_ATTEMPTS", 3)

    async def scenario(cluster):
        add_workload(cluster, replicas=2)
        subject = await find_subject(cluster.api, "demo", "tomcat")

        async def write_before_each_patch(*args, **options):
            subject.obj["metadata"]["resourceVersion"] = "1"
            return stale

        stale = copy.deepcopy(subject.obj)
        stale["metadata"]["resourceVersion"] = "1"
        subject.obj["metadata"]["resourceVersion"] = "1"
        monkeypatch.setattr(cluster.api, "get", write_before_each_patch)
        with pytest.raises(Conflict, match="somebody else all the time"):
            await take_by_scale(cluster.api, "demo", subject, session="s", holder=ME)
        assert read(cluster)["spec"]["replicas"] == 2
        assert ANNOTATION not in (read(cluster)["metadata"].get("annotations") or {})

    run(scenario)


def test_names_of_all_kinds():
    async def scenario(cluster):
        add_workload(cluster)
        add_workload(
            cluster, "statefulsets", "db", annotations={"argocd.argoproj.io/tracking-id": "x"}
        )
        add_service(cluster, "web", selector={"app": "tomcat"})
        add_service(cluster, "other", selector={"app": "else"})
        find = find_subject
        assert (await find(cluster.api, "demo", "sts/db")).title == "statefulset/db"
        assert (await find(cluster.api, "demo", "web", services=True)).title == "service/web"
        db = await find(cluster.api, "demo", "db")
        assert list(find_gitops(db.obj)) == ["Argo CD"]
        for text in ("service/web", "pod/x", "cronjob/x", "deployment/", "/x"):
            with pytest.raises(UsageError):
                await find(cluster.api, "demo", text)
        for text in ("nobody", "deployment/db", "web"):
            with pytest.raises(NotFound):
                await find(cluster.api, "demo", text)
        tomcat = await find(cluster.api, "demo", "tomcat")
        (service,) = await find_services(cluster.api, "demo", tomcat.pod_labels)
        assert service["metadata"]["name"] == "web"
        assert await find_autoscaler(cluster.api, "demo", tomcat) is None
        cluster.store.create(
            "horizontalpodautoscalers",
            "demo",
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "grow"},
                "spec": {
                    "maxReplicas": 9,
                    "scaleTargetRef": {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": "tomcat",
                    },
                },
            },
        )
        assert await find_autoscaler(cluster.api, "demo", tomcat) == "grow"

    run(scenario)


@pytest.mark.parametrize(
    ("labels", "annotations", "who"),
    [
        # What each of them writes on all that it applies, the release's namespace included.
        (
            {
                "kustomize.toolkit.fluxcd.io/name": "apps",
                "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            },
            {},
            ["Flux"],
        ),
        (
            {
                "app.kubernetes.io/managed-by": "Helm",
                "helm.toolkit.fluxcd.io/name": "shop",
                "helm.toolkit.fluxcd.io/namespace": "flux-system",
            },
            {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "demo"},
            ["Flux"],
        ),
        ({"argocd.argoproj.io/instance": "shop"}, {}, ["Argo CD"]),
        ({}, {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:demo/shop"}, ["Argo CD"]),
        # By Helm alone: nobody puts anything back until its user upgrades.
        (
            {"app.kubernetes.io/managed-by": "Helm"},
            {"meta.helm.sh/release-name": "shop"},
            [],
        ),
    ],
)
def test_who_keeps_an_object_as_it_stands_in_a_repository(labels, annotations, who):
    metadata = {"name": "shop", "labels": labels, "annotations": annotations}
    assert list(find_gitops({"metadata": metadata})) == who


async def take(cluster, session, holder, name="tomcat"):
    subject = await find_subject(cluster.api, "demo", name)
    return await take_by_scale(cluster.api, "demo", subject, session=session, holder=holder)


def test_recover_works_from_the_annotation_alone():
    async def scenario(cluster):
        add_workload(cluster, replicas=3)
        await take(cluster, "gone", OTHER)
        said = []
        found = await list_taken(cluster.api, "demo")
        await recover(cluster.api, "demo", found, force=False, tell=said.append)
        assert read(cluster)["spec"]["replicas"] == 3
        assert said == ["deployment/tomcat is back as it was: 3 replicas"]
        assert await list_taken(cluster.api, "demo") == []
        # Two at once: the second finds it done.
        await recover(cluster.api, "demo", found, force=False, tell=said.append)
        assert "somebody else" in said[-1]

    run(scenario)


def test_recover_asks_before_it_takes_from_the_living():
    async def scenario(cluster):
        add_workload(cluster, replicas=3)
        add_lease(cluster, "alive", OTHER)
        await take(cluster, "alive", OTHER)
        found = await list_taken(cluster.api, "demo")
        with pytest.raises(Conflict, match=OTHER):
            await recover(cluster.api, "demo", found, force=False, tell=print)
        assert read(cluster)["spec"]["replicas"] == 0
        await recover(cluster.api, "demo", found, force=True, tell=print)
        assert read(cluster)["spec"]["replicas"] == 3

    run(scenario)


@pytest.mark.parametrize(
    ("holder", "silent_s", "all_users", "cleaned"),
    [
        (ME, 0, False, False),
        (ME, 61, False, True),
        (OTHER, 61, False, False),
        (OTHER, 61, True, False),  # asleep is not dead
        (OTHER, 599, True, False),
        (OTHER, 601, True, True),
        (OTHER, 10**6, False, False),
    ],
)
def test_clean_removes_only_what_is_dead(holder, silent_s, all_users, cleaned):
    async def scenario(cluster):
        add_workload(cluster, replicas=3)
        await take(cluster, "session-a", holder)
        add_lease(cluster, "session-a", holder, silent_s)
        found = await list_leftovers(cluster.api, "demo", me=ME, all_users=all_users)
        assert [each.session for each in found] == (["session-a"] if cleaned else [])
        for each in found:
            await remove(cluster.api, "demo", each, lambda _: None)
        assert read(cluster)["spec"]["replicas"] == (3 if cleaned else 0)

    run(scenario)


def test_a_holder_that_comes_back_keeps_what_it_has():
    async def scenario(cluster):
        add_workload(cluster, replicas=3)
        await take(cluster, "session-a", ME)
        add_lease(cluster, "session-a", ME, silent_s=100)
        (found,) = await list_leftovers(cluster.api, "demo", me=ME)
        now = build_micro_time(datetime.now(UTC))
        await cluster.api.patch(
            "leases", "session-a", {"spec": {"renewTime": now}}, kind="merge", namespace="demo"
        )
        await remove(cluster.api, "demo", found, lambda _: None)
        assert read(cluster)["spec"]["replicas"] == 0

    run(scenario)


def job(name, age_s):
    created = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": {"name": name, "labels": build_labels(name), "creationTimestamp": created}}


@pytest.mark.parametrize(("age_s", "cleaned"), [(5, False), (START_S + 60, False), (700, True)])
def test_a_job_without_a_lease_may_be_starting(age_s, cleaned):
    found = find_leftovers([job("s", age_s)], [], [], datetime.now(UTC), me=ME, all_users=True)
    assert bool(found) is cleaned


def test_a_record_without_anything_else_says_whose_it_is():
    subject = Subject("deployments", {"metadata": {"name": "tomcat"}})
    taken = Taken(subject, "{}", Record("s", ME, "t", "scale", replicas=2))
    now = datetime.now(UTC)
    assert find_leftovers([], [], [taken], now, me=ME, all_users=False)
    assert not find_leftovers([], [], [taken], now, me=OTHER, all_users=False)


def test_a_lease_that_can_not_be_read_is_left_alone():
    now = datetime.now(UTC)
    for spec in ({}, {"renewTime": "soon"}, {"renewTime": None, "leaseDurationSeconds": "x"}):
        assert parse_holding({"spec": spec}, now).is_live


def test_silence_in_words():
    said = [describe_silence(each) for each in (0, 119, 120, 7199, 7200, 200000)]
    assert said == ["0 s", "119 s", "2 min", "120 min", "2 h", "2 days"]


def test_a_job_says_itself_whose_it_is_while_it_has_no_lease():
    started = job("s", START_S + 1)
    started["metadata"]["annotations"] = {HOLDER_ANNOTATION: ME}
    now = datetime.now(UTC)
    (found,) = find_leftovers([started], [], [], now, me=ME, all_users=False)
    assert (found.holder, found.jobs) == (ME, ("s",))
    assert not find_leftovers([started], [], [], now, me=OTHER, all_users=False)
