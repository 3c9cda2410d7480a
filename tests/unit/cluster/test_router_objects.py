"""What a router is made of, and which Services it can't stand in front of."""

import asyncio

import pytest
from lab_cluster import open_cluster

from ktnet.cluster.exchange.taking import check_free
from ktnet.cluster.exchange.workload import Subject, find_front_services
from ktnet.cluster.mesh.router import make_router
from ktnet.cluster.mesh.router_manifests import (
    RouterSpec,
    build_arguments,
    build_origin,
    build_router_account,
    build_router_name,
    plan_ports,
)
from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.errors import Conflict, UsageError
from ktnet.shadow.mesh.arguments import parse_router_arguments
from ktnet.shadow.router.listener import Expected
from ktnet.wire.meshrecord import (
    ANNOTATION,
    Member,
    MeshRecord,
    build_record_text,
    build_undo,
    parse_record,
)

POD = {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}
SELECTOR = (("app", "tomcat"),)


def service(*ports, **spec):
    return {"metadata": {"name": "tomcat"}, "spec": {"ports": list(ports), **spec}}


def spec_of(ports, **changes):
    shadow = ShadowSpec("demo", "ktnet-shadow:0", idle_s=30)
    return RouterSpec(
        shadow, "tomcat", "uid", "tomcat-router-abcde", ports, SELECTOR, "ada@laptop", **changes
    )


def test_ports_are_the_pods_and_the_first_of_a_kind_counts():
    ports = plan_ports(
        service(
            {"port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"},
            {"port": 8081, "targetPort": 8080},
            {"port": 5432},
        ),
        POD,
    )
    assert [(port.number, port.target) for port in ports] == [(8080, "http"), (5432, 5432)]
    origin = build_origin(spec_of(ports))["spec"]
    assert [(each["port"], each["targetPort"]) for each in origin["ports"]] == [
        (8080, "http"),
        (5432, 5432),
    ]
    assert origin["selector"] == {"app": "tomcat"}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (service({"port": 80}, clusterIP="None"), "headless"),
        (service({"port": 53, "protocol": "UDP"}), "UDP"),
        (service({"port": 80, "targetPort": "web"}), "called web"),
    ],
)
def test_what_a_router_cannot_stand_in_front_of(wrong, reason):
    with pytest.raises(UsageError, match=reason):
        plan_ports(wrong, POD)


def test_the_router_reads_what_its_deployment_says():
    ports = plan_ports(
        service(
            {"port": 80, "targetPort": "http", "appProtocol": "http"},
            {"port": 5432, "appProtocol": "kubernetes.io/tcp"},
            {"port": 81},
        ),
        POD,
    )
    words = [
        w.replace("$(POD_IP)", "10.244.0.7") for w in build_arguments(spec_of(ports), "10.0.0.9")
    ]
    assert words[0] == "router"
    found = parse_router_arguments(words[1:])
    assert (found.namespace, found.service, found.router) == (
        "demo",
        "tomcat",
        "tomcat-router-abcde",
    )
    assert (found.bind, found.ssh_bind, found.idle_s, found.restores) == (
        "10.244.0.7",
        "127.0.0.1",
        30,
        True,
    )
    assert [(port.number, port.origin, port.expected) for port in found.ports] == [
        (8080, ("10.0.0.9", 8080), Expected.HTTP),
        (5432, ("10.0.0.9", 5432), Expected.BYTES),
        (81, ("10.0.0.9", 81), Expected.UNKNOWN),
    ]


def test_names_fit_whatever_the_service_is_called():
    for name in ("a", "tomcat", "x" * 63, "a-" * 31 + "a"):
        router = build_router_name(name)
        assert len(f"{router}-origin") <= 63
        assert "--" not in router
        assert router != build_router_name(name)


def test_the_role_gives_one_service_one_deployment_and_leases():
    rules = dict(build_router_account(spec_of(())))["roles"]["rules"]
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in rules] == [
        (["services"], ["tomcat"], ["get", "patch"]),
        (["deployments"], ["tomcat-router-abcde"], ["delete"]),
        (["leases"], None, ["get"]),
    ]


def make(denied=()):
    """(the Deployment, what the user was told, kinds that were made) where these can't be had."""

    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            cluster.denied.update(("create", plural) for plural in denied)
            owner = cluster.store.create(
                "services",
                "demo",
                {"metadata": {"name": "tomcat"}, "spec": {"ports": [{"port": 80}]}},
            )
            spec = spec_of(plan_ports(owner, {}))
            spec = RouterSpec(
                spec.shadow,
                "tomcat",
                owner["metadata"]["uid"],
                spec.name,
                spec.ports,
                SELECTOR,
                "me",
            )
            told = []
            router = await make_router(cluster.api, spec, told.append)
            kinds = ("serviceaccounts", "roles", "rolebindings", "poddisruptionbudgets")
            made = [
                kind
                for kind in kinds
                if any(
                    each["metadata"].get("ownerReferences", [{}])[0].get("uid") == router.uid
                    for each in cluster.store.list(kind, "demo")
                )
            ]
            return cluster.store.get("deployments", "demo", spec.name), told, made

    return asyncio.run(main())


def test_all_of_it_belongs_to_the_deployment_and_that_to_the_service():
    deployment, told, made = make()
    assert told == []
    assert made == ["serviceaccounts", "roles", "rolebindings", "poddisruptionbudgets"]
    (owner,) = deployment["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Service", "tomcat")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    pod = spec["template"]["spec"]
    assert pod["serviceAccountName"] == "tomcat-router-abcde"
    assert pod["automountServiceAccountToken"] is False
    assert "--restore" in pod["containers"][0]["args"]


@pytest.mark.parametrize("denied", ["roles", "rolebindings", "serviceaccounts"])
def test_without_a_role_the_user_is_told_and_the_router_has_no_account(denied):
    deployment, told, made = make([denied])
    assert "ktnet clean" in " ".join(told)
    assert made == ["poddisruptionbudgets"]
    pod = deployment["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert "volumes" not in pod
    assert "--restore" not in pod["containers"][0]["args"]


def test_without_a_budget_it_goes_without():
    _, told, made = make(["poddisruptionbudgets"])
    assert (told, made) == ([], ["serviceaccounts", "roles", "rolebindings"])


def meshed_service():
    member = Member("s", "ada@laptop", "2026-11-24T15:00:00Z", "version", "alice")
    record = MeshRecord("tomcat-router-abcde", SELECTOR, (member,))
    return {
        "metadata": {"name": "tomcat", "annotations": {ANNOTATION: build_record_text(record)}},
        "spec": {"selector": {"ktnet.dev/session": record.router}, "ports": [{"port": 80}]},
    }


def test_a_meshed_service_is_found_by_its_own_selector_and_not_exchanged():
    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            cluster.store.create("services", "demo", meshed_service())
            origin = build_origin(spec_of(plan_ports(meshed_service(), {})))
            cluster.store.create("services", "demo", origin)
            found = await find_front_services(cluster.api, "demo", {"app": "tomcat"})
            assert [each["metadata"]["name"] for each in found] == ["tomcat"]
            with pytest.raises(Conflict, match="meshed"):
                await check_free(cluster.api, "demo", Subject("services", found[0]), found[0])

    asyncio.run(main())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version":2}', '{"version":1,"router":"","selector":{},"members":[]}'],
)
def test_an_annotation_that_is_not_understood_is_left_to_people(text):
    with pytest.raises(ValueError, match="not understood"):
        parse_record({"metadata": {"annotations": {ANNOTATION: text}}})


def test_the_undoing_tests_first():
    text, record = parse_record(meshed_service())
    test, *_, last = build_undo(text, record)
    assert (test["op"], test["value"], last["op"]) == ("test", text, "remove")
