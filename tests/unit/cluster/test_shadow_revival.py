"""A shadow that is lost, in every way, and what there is after `revive`."""

from __future__ import annotations

import asyncio

import pytest
from lab_cluster import HOST_KEY, open_cluster

from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.cluster.shadow.session import open_shadow_session
from ktnet.cluster.shadow.verdict import find_end, is_job_lost
from ktnet.errors import ClusterUnreachable, Forbidden

SPEC = ShadowSpec("demo", "ktnet-shadow:0", "ssh-ed25519 AAAA", timeout_s=5)
NEVER_RAN, RAN = False, True


def pod(**status):
    return {"metadata": {"uid": "1"}, "status": {"phase": "Running", **status}}


def crashing(reason):
    return pod(containerStatuses=[{"state": {"waiting": {"reason": reason}}}])


ENDING = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {}}


@pytest.mark.parametrize(
    ("job", "pods", "has_run", "lost"),
    [
        (None, [], RAN, True),
        ({"metadata": {"deletionTimestamp": "2026"}}, [pod()], RAN, True),
        ({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, [], RAN, True),
        (
            {"status": {"conditions": [{"type": "Complete", "status": "False"}]}},
            [],
            NEVER_RAN,
            False,
        ),
        (
            {"status": {"conditions": [{"type": "Suspended", "status": "True"}]}},
            [],
            NEVER_RAN,
            False,
        ),
        ({}, [], NEVER_RAN, False),  # its controller is about to make one
        ({}, [], RAN, True),  # its controller backs off
        ({}, [ENDING], NEVER_RAN, True),
        ({}, [pod(phase="Failed", reason="Evicted")], NEVER_RAN, True),
        ({}, [pod(phase="Pending")], RAN, False),  # it has been made again already
        ({}, [ENDING, pod()], RAN, False),
        ({}, [crashing("ContainerCreating")], RAN, False),
        ({}, [crashing("CrashLoopBackOff")], RAN, True),
        ({"status": [], "metadata": None}, [{"status": 7}], RAN, False),
    ],
)
def test_which_job_is_worth_waiting_for(job, pods, has_run, lost):
    assert is_job_lost(job, pods, has_run=has_run) is lost


def test_why_a_pod_ends():
    assert find_end(pod()) == ""
    assert "deleted" in find_end(ENDING)
    assert "evicted" in find_end(pod(phase="Failed", reason="Evicted"))
    assert "Succeeded" in find_end(pod(phase="Succeeded"))


def run(scenario):
    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            async with open_shadow_session(cluster.api, SPEC, lambda _: None) as session:
                await scenario(cluster, session)
            assert cluster.objects() == []

    asyncio.run(main())


async def revive(session):
    await session.revive(lambda _: None)


async def check_one_of_each(cluster, session, job):
    """One Job, one pod, one Lease, which that Job owns; at last."""
    with cluster.store.watch("pods") as pods, cluster.store.watch("jobs") as jobs:
        while len(cluster.store.list("pods")) > 1:
            await anext(pods)
        while len(cluster.store.list("jobs")) > 1:
            await anext(jobs)
    (found,) = cluster.store.list("jobs")
    assert found["metadata"]["name"] == job
    (lease,) = cluster.store.list("leases")
    assert lease["metadata"]["name"] == session.name
    (owner,) = lease["metadata"]["ownerReferences"]
    assert owner["uid"] == found["metadata"]["uid"]
    (there,) = cluster.store.list("pods")
    assert session.pod.uid == there["metadata"]["uid"]
    assert there["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    assert session.host_key == HOST_KEY


def test_what_is_well_stays_as_it_is():
    async def scenario(cluster, session):
        before = session.pod
        await revive(session)
        assert session.pod == before
        await check_one_of_each(cluster, session, session.name)

    run(scenario)


def test_a_deleted_pod_gets_a_successor_of_its_job():
    async def scenario(cluster, session):
        for number in (2, 3):
            await cluster.api.delete("pods", session.pod.name, namespace="demo")
            await revive(session)
            await check_one_of_each(cluster, session, f"{session.name}-{number}")

    run(scenario)


def test_a_deleted_job_has_taken_its_lease_along_which_is_made_anew():
    async def scenario(cluster, session):
        with cluster.store.watch("leases", "demo") as leases:
            await cluster.api.delete("jobs", session.name, namespace="demo")
            while cluster.store.list("leases"):
                await anext(leases)
        await revive(session)
        await check_one_of_each(cluster, session, f"{session.name}-2")

    run(scenario)


@pytest.mark.parametrize("right", [("create", "jobs"), ("patch", "leases"), ("delete", "jobs")])
def test_it_goes_on_where_it_failed(right):
    async def scenario(cluster, session):
        await cluster.api.delete("pods", session.pod.name, namespace="demo")
        cluster.denied.add(right)
        with pytest.raises(Forbidden):
            await revive(session)
        cluster.denied.clear()
        await revive(session)
        await check_one_of_each(cluster, session, f"{session.name}-2")

    run(scenario)


def test_a_successor_whose_making_was_never_answered_is_taken_on():
    async def scenario(cluster, session):
        create, asked = cluster.api.create, []

        async def create_and_lose_the_answer(plural, *args, **kwargs):
            await create(plural, *args, **kwargs)
            asked.append(plural)
            if len(asked) == 1:
                raise ClusterUnreachable("the answer is lost")

        await cluster.api.delete("pods", session.pod.name, namespace="demo")
        cluster.api.create = create_and_lose_the_answer
        with pytest.raises(ClusterUnreachable):
            await revive(session)
        cluster.api.create = create
        await revive(session)
        await check_one_of_each(cluster, session, f"{session.name}-2")

    run(scenario)
