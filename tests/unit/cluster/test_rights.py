"""The rights that the documentation lists: enough, none too many, and missed before any change."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lab_cluster import open_cluster, open_limited_api

from ktnet.cluster import heartbeat
from ktnet.cluster.cidrs import find_cluster_ranges
from ktnet.cluster.rights import (
    Right,
    build_roles,
    build_rules,
    describe_rights,
    find_missing,
    list_for_exchange,
    list_for_router,
    list_optional,
    list_required,
)
from ktnet.cluster.server.review import list_missing, require_rights
from ktnet.cluster.services import open_service_index
from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.cluster.shadow.session import open_shadow_session
from ktnet.errors import Forbidden, ShadowFailed
from ktnet.session.cluster import Cluster as SessionCluster
from ktnet.session.tunnel import open_tunnel
from ktnet.wire.shadow import SSH_PORT

REQUIRED = list_required("connect")
OPTIONAL = [right for each in list_optional("connect") for right in each.rights]
SPEC = ShadowSpec("demo", "ktnet-shadow:0", "ssh-ed25519 AAAA", timeout_s=10)


def run(scenario):
    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            await scenario(cluster)

    asyncio.run(main())


class Silent:
    """Of what it is told, it keeps what there is to wait for."""

    def __init__(self):
        self.said = []

    def step(self, *_):
        pass

    def waiting(self, text):
        self.said.append(text)

    note = waiting


def test_the_documentation_says_the_same():
    text = (Path(__file__).parents[3] / "docs" / "rights.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    written = [document for block in blocks for document in yaml.safe_load_all(block)]
    assert written == build_roles("connect")
    for each in list_optional("connect"):
        assert each.lost in " ".join(text.split())


def test_the_roles_of_run_and_exchange_are_written_down():
    text = (Path(__file__).parents[3] / "docs" / "exchange.md").read_text()
    required, optional = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    run, exchange = (document["rules"] for document in yaml.safe_load_all(required))
    assert run == build_rules(list_required("run"))
    kinds = ("deployments", "statefulsets", "services")
    changed = [right for kind in kinds for right in list_for_exchange(kind)]
    assert exchange == build_rules([*list_required("exchange"), *changed])
    for command, document in zip(("run", "exchange"), yaml.safe_load_all(optional), strict=True):
        welcome = list_optional(command)
        rights = dict.fromkeys(right for each in welcome for right in each.rights)
        assert document["metadata"]["name"] == f"ktnet-{command}-optional"
        assert document["rules"] == build_rules(rights)
        for each in welcome:
            assert each.lost in " ".join(text.split())


@pytest.mark.parametrize("missing", REQUIRED, ids=lambda right: f"{right.verb} {right.resource}")
def test_one_less_is_missed_before_anything_is_changed(missing):
    async def scenario(cluster):
        rules = build_rules(right for right in REQUIRED if right != missing)
        async with open_limited_api(cluster, rules) as api:
            with pytest.raises(Forbidden) as raised:
                async with open_tunnel(SessionCluster(api, "demo"), SPEC, Silent()):
                    pytest.fail("it opened")
        assert raised.value.exit_code == 5
        words = f"not allowed to {missing.verb} {missing.resource} in namespace demo"
        assert raised.value.message == words
        assert "docs/rights.md" in raised.value.hint
        assert cluster.objects() == []
        assert all("selfsubject" in request.path for request in cluster.server.requests)

    run(scenario)


def test_all_that_are_missing_are_named_together():
    async def scenario(cluster):
        async with open_limited_api(cluster, []) as api:
            with pytest.raises(Forbidden) as raised:
                await require_rights(api, "demo", list_required("connect", port_forward=False))
        assert raised.value.message == (
            "not allowed to create jobs, get jobs, delete jobs, create leases, get leases, "
            "patch leases, get pods, list pods, watch pods and get pods/log in namespace demo"
        )

    run(scenario)


def test_the_required_rights_are_enough_and_each_is_used(monkeypatch):
    """What a whole session asks for, from the Job to its end, is what the list says."""
    monkeypatch.setattr(heartbeat, "_PERIOD_S", 0.02)

    async def scenario(cluster):
        async def until(verb, resource):
            while not any(
                (each.verb, each.resource) == (verb, resource) for each in cluster.wanted
            ):
                cluster.asked.clear()
                await cluster.asked.wait()

        async def run_the_pod_late():
            await until("watch", "pods")
            cluster.kubelet.state = running
            (pod,) = cluster.store.list("pods")
            cluster.kubelet.report(pod)

        port = await open_port(cluster)
        running, cluster.kubelet.state = cluster.kubelet.state, {"waiting": {"reason": "Pulling"}}
        async with (
            open_limited_api(cluster, build_rules(REQUIRED)) as api,
            asyncio.TaskGroup() as tasks,
        ):
            cluster.wanted.clear()
            await require_rights(api, "demo", REQUIRED)
            tasks.create_task(run_the_pod_late())
            async with open_shadow_session(api, SPEC, Silent().waiting) as session:
                transport, _ = await session.connector(tasks)(asyncio.Protocol)
                transport.abort()
                await until("patch", "leases")
        port.close()
        assert cluster.objects() == []
        used = {
            Right(each.verb, f"{each.resource}/{each.subresource}".rstrip("/"))
            for each in cluster.wanted
            if each.namespace and "reviews" not in each.resource
        }
        assert used - {Right("list", "events"), Right("watch", "events")} == set(REQUIRED)

    run(scenario)


async def open_port(cluster):
    """Something that listens where the shadow's SSH server does."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    cluster.kubelet.ports[SSH_PORT] = server.sockets[0].getsockname()[1]
    return server


def test_without_a_right_to_events_a_line_says_so_while_there_is_nothing_to_see():
    async def scenario(cluster):
        cluster.kubelet.state = {"waiting": {"reason": "ContainerCreating"}}
        report = Silent()
        async with open_limited_api(cluster, build_rules(REQUIRED)) as api:
            opening = open_shadow_session(api, replace(SPEC, timeout_s=1), report.waiting)
            with pytest.raises(ShadowFailed, match="did not run"):
                await opening.__aenter__()
        assert sum("no right to list events" in text for text in report.said) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (Right("list", "nodes", True), "no right to list nodes"),
        (Right("list", "servicecidrs", True), "the range of ClusterIPs is not known"),
        (Right("list", "services", True), "no right to list Services of all namespaces"),
    ],
    ids=lambda value: str(getattr(value, "resource", "")),
)
def test_an_optional_right_less_is_one_line(missing, says):
    async def scenario(cluster):
        given = [right for right in OPTIONAL if right != missing]
        namespaced = build_rules(right for right in [*REQUIRED, *given] if not right.whole_cluster)
        everywhere = build_rules(right for right in given if right.whole_cluster)
        async with open_limited_api(cluster, namespaced, everywhere) as api:
            assert await list_missing(api, "demo", REQUIRED) == []
            ranges = await find_cluster_ranges(api, "demo")
            async with open_service_index(api, "demo") as services:
                lines = [text for text in (services.warning, *ranges.warnings) if text]
        (line,) = lines
        assert says in line

    run(scenario)


def test_with_all_of_them_nothing_is_lost():
    async def scenario(cluster):
        namespaced = build_rules(
            right for right in [*REQUIRED, *OPTIONAL] if not right.whole_cluster
        )
        everywhere = build_rules(right for right in OPTIONAL if right.whole_cluster)
        async with open_limited_api(cluster, namespaced, everywhere) as api:
            assert await list_missing(api, "demo", [*REQUIRED, *OPTIONAL]) == []
            ranges = await find_cluster_ranges(api, "demo")
            async with open_service_index(api, "demo") as services:
                assert (services.warning, *ranges.warnings) == ("",)

    run(scenario)


def test_an_admin_is_asked_for_with_one_question():
    async def scenario(cluster):
        await require_rights(cluster.api, "demo", REQUIRED)
        assert len(cluster.server.requests) == 1

    run(scenario)


def test_who_may_not_even_ask_just_tries():
    async def scenario(cluster):
        for kind in ("selfsubjectaccessreviews", "selfsubjectrulesreviews"):
            cluster.denied.add(("create", kind))
        async with open_limited_api(cluster, []) as api:
            assert await list_missing(api, "demo", REQUIRED) == []

    run(scenario)


def test_direct_needs_no_port_forward():
    direct = list_required("connect", port_forward=False)
    assert not any("portforward" in right.resource for right in direct)


@pytest.mark.parametrize(
    ("rule", "gives"),
    [
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}, True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]}, True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/*"]}, False),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["pods/log"]}, False),
        ({"verbs": ["list"], "apiGroups": [""], "resources": ["pods/log"]}, False),
        (
            {
                "verbs": ["get"],
                "apiGroups": [""],
                "resources": ["pods/log"],
                "resourceNames": ["x"],
            },
            False,
        ),
    ],
)
def test_what_a_rule_gives(rule, gives):
    right = Right("get", "pods/log")
    assert find_missing([right], [rule]) == ([] if gives else [right])


JSON = st.recursive(
    st.none() | st.booleans() | st.sampled_from(["get", "*", "verbs", "", "pods"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["verbs", "apiGroups", "resources", "resourceNames"]), inner, max_size=4
        )
    ),
)


@given(st.lists(JSON, max_size=3))
def test_rules_of_any_shape(rules):
    find_missing(REQUIRED, rules)


def test_words_for_people():
    rights = [Right("get", "pods"), Right("list", "nodes", True)]
    assert (
        describe_rights(rights, "demo")
        == "get pods in namespace demo, list nodes in the whole cluster"
    )


def test_the_role_of_mesh_is_written_down():
    text = (Path(__file__).parents[3] / "docs" / "mesh.md").read_text()
    (block, *_) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert yaml.safe_load(block)["rules"] == build_rules(list_for_router())
