"""A mark in Istio's objects and out of them again, against the lab's API server."""

import asyncio
import random
import re
import time
from pathlib import Path

import pytest
import yaml
from istio_scene import (
    POD_LABELS,
    ROUTES,
    SUBSETS,
    add,
    add_team,
    build_version,
    define_kinds,
    key_of,
    look,
    names,
    remove,
)
from lab_cluster import open_cluster, open_limited_api

from ktnet.cluster.istio.leftovers import list_dead, list_marked, recover_marked
from ktnet.cluster.istio.record import ANNOTATION
from ktnet.cluster.istio.rules import Rules, find_rules
from ktnet.cluster.rights import build_rules, list_for_istio, list_required
from ktnet.cluster.shadow.manifests import build_lease
from ktnet.errors import ClusterUnreachable, Conflict, Forbidden

ALICE, BOB = build_version("alice"), build_version("bob")


def run(scenario, *, versions=("v1", "v1beta1")):
    async def main():
        async with asyncio.timeout(60), open_cluster() as cluster:
            define_kinds(cluster, versions)
            await scenario(cluster, await find_rules(cluster.api, "demo"))

    asyncio.run(main())


def test_without_the_kinds_there_is_nothing_to_add_to():
    async def main():
        async with open_cluster() as cluster:
            assert await find_rules(cluster.api, "demo") is None

    asyncio.run(main())


@pytest.mark.parametrize("versions", [("v1", "v1beta1"), ("v1beta1", "v1alpha3")])
def test_it_is_added_and_removed_exactly(versions):
    async def scenario(cluster, rules):
        add_team(cluster)
        before = look(cluster)
        assert await rules.add(ALICE) == []
        assert names(cluster, "virtualservices") == [
            "ktnet-alice",
            "canary",
            None,
            "ktnet-alice/2",
            "everything",
        ]
        added = cluster.store.get(key_of("virtualservices"), "demo", "shop")["spec"]["http"][3]
        assert added == {
            "name": "ktnet-alice/2",
            "match": [{"headers": {"version": {"exact": "alice"}}}],
            "route": [{"destination": {"host": "tomcat", "subset": "ktnet-alice"}}],
            "timeout": "5s",
        }
        assert names(cluster, "destinationrules") == ["v1", "v2", "ktnet-alice"]
        # Once more changes nothing.
        once = look(cluster)
        await rules.add(ALICE)
        assert look(cluster) == once
        assert await remove(rules, ALICE)
        assert look(cluster) == before
        assert not await remove(rules, ALICE)

    run(scenario, versions=versions)


def test_a_rule_without_subsets_is_without_them_again():
    async def scenario(cluster, rules):
        add(cluster, "destinationrules", "shop", {"host": "tomcat"})
        before = look(cluster)
        await rules.add(ALICE)
        await rules.add(BOB)
        await remove(rules, ALICE)
        assert "ktnet-bob" in names(cluster, "destinationrules")
        await remove(rules, BOB)
        assert look(cluster) == before

    run(scenario)


def test_what_is_made_is_shared_and_goes_with_the_last():
    async def scenario(cluster, rules):
        wide = {"host": "*.demo.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}
        add(cluster, "destinationrules", "all", wide)
        before = look(cluster)
        assert await rules.add(ALICE) == []
        made = cluster.store.get(key_of("destinationrules"), "demo", "ktnet-tomcat")
        # Nearer than the wide one, which so must not be lost.
        assert made["spec"]["trafficPolicy"] == wide["trafficPolicy"]
        assert made["metadata"]["ownerReferences"][0]["kind"] == "Service"
        await rules.add(BOB)
        await remove(rules, ALICE)
        assert names(cluster, "virtualservices", "ktnet-tomcat") == ["ktnet-bob", "kt-others"]
        assert names(cluster, "destinationrules", "ktnet-tomcat") == ["kt-others", "ktnet-bob"]
        await remove(rules, BOB)
        assert look(cluster) == before

    run(scenario)


def test_what_was_made_and_then_changed_by_a_colleague_stays():
    async def scenario(cluster, rules):
        await rules.add(ALICE)
        routes = cluster.store.get(key_of("virtualservices"), "demo", "ktnet-tomcat")["spec"]
        change = {"spec": {**routes, "hosts": ["tomcat", "shop"]}}
        cluster.store.patch(key_of("virtualservices"), "demo", "ktnet-tomcat", change)
        await remove(rules, ALICE)
        left = cluster.store.get(key_of("virtualservices"), "demo", "ktnet-tomcat")
        assert left["spec"]["hosts"] == ["tomcat", "shop"]
        assert ANNOTATION not in (left["metadata"].get("annotations") or {})
        # Its last route leads there.
        assert names(cluster, "virtualservices", "ktnet-tomcat") == ["kt-others"]
        assert names(cluster, "destinationrules", "ktnet-tomcat") == ["kt-others"]

    run(scenario)


def test_only_its_own_is_removed_whatever_others_did():
    async def scenario(cluster, rules):
        add_team(cluster)
        await rules.add(ALICE)
        spec = cluster.store.get(key_of("virtualservices"), "demo", "shop")["spec"]
        new = {"name": "new", "route": [{"destination": {"host": "new"}}]}
        changed = [new, *reversed(spec["http"])]
        metadata = {"annotations": {ANNOTATION: None, "team": "other"}}
        patch = {"spec": {"http": changed}, "metadata": metadata}
        cluster.store.patch(key_of("virtualservices"), "demo", "shop", patch)
        cluster.store.patch(key_of("destinationrules"), "demo", "shop", {"spec": SUBSETS})
        await remove(rules, ALICE)
        found = look(cluster)
        assert found["virtualservices/shop"][0]["http"] == [new, *reversed(ROUTES["http"])]
        assert found["virtualservices/shop"][2] == {"team": "other"}
        assert found["destinationrules/shop"][0] == SUBSETS

    run(scenario)


def test_one_name_of_two_workloads_versions():
    async def scenario(cluster, rules):
        add_team(cluster)
        add(cluster, "virtualservices", "web", {**ROUTES, "hosts": ["web"], "http": []})
        routes = {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]}
        cluster.store.patch(key_of("virtualservices"), "demo", "web", {"spec": routes})
        web = build_version("alice", workload="web", services=("web",))
        await rules.add(ALICE)
        await rules.add(web)
        await remove(rules, ALICE)
        assert names(cluster, "virtualservices", "web")[0] == "ktnet-alice"
        again = build_version("alice", workload="tomcat-2")
        await rules.add(ALICE)
        with pytest.raises(Conflict, match="alice@laptop's since"):
            await rules.add(again)

    run(scenario)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"hosts": ["tomcat"], "tcp": [{"route": [{"destination": {"host": "tomcat"}}]}]}, "tcp"),
        ({"hosts": ["tomcat.demo.svc.x.y"], "tls": [{}]}, "tls"),
        ({"hosts": ["tomcat"], "http": [{"delegate": {"name": "routes"}}]}, "delegates"),
        ({"http": [{"route": [{"destination": {"host": "tomcat"}}]}]}, "delegate to"),
        ({"hosts": ["*"], "http": [{"route": [{"destination": {"host": "db"}}]}]}, "elsewhere"),
        ({"hosts": ["tomcat"], "http": "x"}, "not understood"),
        (
            {
                "hosts": ["tomcat"],
                "http": [
                    {
                        "match": [{"headers": {"Version": {"regex": "(a+)+"}}}],
                        "route": [{"destination": {"host": "tomcat"}}],
                    }
                ],
            },
            "pattern of the very header",
        ),
    ],
    ids=["tcp", "tls", "delegating", "delegate", "elsewhere", "garbage", "pattern"],
)
def test_what_no_header_decides_is_refused(spec, reason):
    async def scenario(cluster, rules):
        add(cluster, "virtualservices", "odd", spec)
        before = look(cluster)
        with pytest.raises(Conflict, match=reason):
            await rules.add(ALICE)
        assert look(cluster) == before

    run(scenario)


def test_a_random_share_is_told_of():
    async def scenario(cluster, rules):
        routes = {"hosts": ["tomcat"], "http": [{"route": [{"destination": {"host": "tomcat"}}]}]}
        add(cluster, "virtualservices", "shop", routes)
        assert await rules.add(ALICE) == ["virtualservice/shop, route number 2"]
        bare = build_version("bob", labels={"app": "tomcat"})
        await remove(rules, ALICE)
        cluster.store.delete(key_of("virtualservices"), "demo", "shop")
        assert await rules.add(bare) == ["virtualservice/ktnet-tomcat, route kt-others"]

    run(scenario)


def test_many_come_and_go_while_others_write():
    """Nobody's entry is lost, nobody's change is, and at the end all is as it was."""

    async def scenario(cluster, rules):
        add_team(cluster)
        before = look(cluster)
        dice = random.Random(7)
        done = asyncio.Event()

        async def come_and_go(version):
            await asyncio.sleep(dice.uniform(0, 0.1))
            await rules.add(version)
            assert version.entry.name in names(cluster, "destinationrules")
            assert version.entry.name in names(cluster, "virtualservices")
            await asyncio.sleep(dice.uniform(0, 0.1))
            await remove(rules, version)

        async def write():
            number = 0
            while not done.is_set():
                number += 1
                change = {"metadata": {"annotations": {"writes": str(number)}}}
                cluster.store.patch(key_of("virtualservices"), "demo", "shop", change)
                # Between two writes there is time to read and to change, however slow the machine.
                start_s = time.monotonic()
                await rules.fetch("virtualservices")
                await asyncio.sleep(0.02 + 4 * (time.monotonic() - start_s))
            return number

        writing = asyncio.create_task(write())
        async with asyncio.TaskGroup() as users:
            for number in range(6):
                users.create_task(come_and_go(build_version(f"user-{number}")))
        done.set()
        written = await writing
        after = look(cluster)
        assert after["virtualservices/shop"][2].pop("writes") == str(written)
        assert after == before

    run(scenario)


class Dying:
    """An API that is away from the n-th change on, which was made or was not."""

    def __init__(self, api, changes, *, made):
        self._api = api
        self._left = changes
        self._made = made

    def __getattr__(self, name):
        method = getattr(self._api, name)
        if name not in {"create", "patch", "delete"}:
            return method

        async def change(*args, **kwargs):
            self._left -= 1
            if self._left < 0 or (self._left == 0 and not self._made):
                raise ClusterUnreachable("it died")
            answer = await method(*args, **kwargs)
            if self._left == 0:
                raise ClusterUnreachable("it died")
            return answer

        return change


@pytest.mark.parametrize("team", [True, False], ids=["added", "made"])
def test_death_at_any_change_is_mended(team):
    async def scenario(cluster, rules):
        if team:
            add_team(cluster)
        before = look(cluster)
        reached = 0
        for changes in range(1, 6):
            for made in (True, False):
                dying = Rules(Dying(cluster.api, changes, made=made), "demo", "v1")
                try:
                    await dying.add(ALICE)
                    await remove(dying, ALICE)
                except ClusterUnreachable:
                    reached = changes
                said = []
                dead = await list_dead(
                    cluster.api, "demo", rules, me="alice@laptop", all_users=False
                )
                await recover_marked(
                    cluster.api, "demo", rules, dead, force=False, tell=said.append
                )
                assert look(cluster) == before
        assert reached == 4

    run(scenario)


def test_who_is_there_is_left_alone():
    async def scenario(cluster, rules):
        add_team(cluster)
        before = look(cluster)
        await rules.add(ALICE)
        lease = build_lease(
            ALICE.entry.session, "demo", ALICE.entry.holder, cluster.api.now(), "mesh"
        )
        cluster.store.create("leases", "demo", lease)
        for all_users in (True, False):
            assert not await list_dead(
                cluster.api, "demo", rules, me="alice@laptop", all_users=all_users
            )
        marked = await list_marked(rules)
        assert [each.title for each in marked] == ["virtualservice/shop and destinationrule/shop"]
        assert all(marked[0].is_named(name) for name in ("tomcat", "svc/tomcat"))
        with pytest.raises(Conflict, match="alice@laptop, who is there"):
            await recover_marked(cluster.api, "demo", rules, marked, force=False, tell=print)
        # Without its annotation nobody knows whose it is, but that somebody has that mark.
        gone = {"metadata": {"annotations": {ANNOTATION: None}}}
        for plural in ("virtualservices", "destinationrules"):
            cluster.store.patch(key_of(plural), "demo", "shop", gone)
        assert not await list_dead(cluster.api, "demo", rules, me="x@y", all_users=True)
        cluster.store.delete("leases", "demo", ALICE.entry.session)
        assert not await list_dead(cluster.api, "demo", rules, me="x@y", all_users=False)
        (dead,) = await list_dead(cluster.api, "demo", rules, me="x@y", all_users=True)
        await recover_marked(cluster.api, "demo", rules, [dead], force=False, tell=print)
        assert look(cluster) == before

    run(scenario)


def test_the_role_is_written_down_and_enough():
    text = (Path(__file__).parents[3] / "docs" / "istio.md").read_text()
    (block,) = re.findall(r"```yaml\n(kind: Role.*?)```", text, re.DOTALL)
    given = yaml.safe_load(block)["rules"]
    assert given == build_rules([*list_required("mesh"), *list_for_istio()])

    async def scenario(cluster, _):
        for missing in (None, *list_for_istio()):
            rights = [right for right in list_for_istio() if right != missing]
            async with open_limited_api(cluster, build_rules(rights)) as api:
                rules = await find_rules(api, "demo")

                async def use(rules=rules):
                    # Made and deleted, then added and removed.
                    await rules.add(ALICE)
                    await remove(rules, ALICE)
                    add_team(cluster)
                    await rules.add(ALICE)
                    await remove(rules, ALICE)

                if missing is None:
                    await use()
                else:
                    with pytest.raises(Forbidden):
                        await use()
            for plural in ("virtualservices", "destinationrules"):
                for obj in cluster.store.list(key_of(plural)):
                    cluster.store.delete(key_of(plural), "demo", obj["metadata"]["name"])

    run(scenario)


def test_a_default_that_leaves_the_version_out_is_taken():
    async def scenario(cluster, rules):
        rule = {"host": "tomcat", "subsets": [{"name": "stable", "labels": {"track": "stable"}}]}
        add(cluster, "destinationrules", "shop", rule)
        labels = {**POD_LABELS, "track": "stable"}
        version = build_version("dev", key="track", labels=labels)
        assert await rules.add(version) == []
        made = cluster.store.get(key_of("virtualservices"), "demo", "ktnet-tomcat")["spec"]["http"]
        assert made[-1]["route"] == [{"destination": {"host": "tomcat", "subset": "stable"}}]
        assert names(cluster, "destinationrules") == ["stable", "ktnet-dev"]

    run(scenario)
