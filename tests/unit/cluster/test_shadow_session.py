"""A session's life against the lab's API server and controllers."""

import asyncio
from datetime import UTC, datetime

import pytest
from aiohttp import web
from forward_peer import open_http
from lab_cluster import HOST_KEY, open_cluster

from ktnet.cluster import heartbeat
from ktnet.cluster.shadow.manifests import ShadowSpec
from ktnet.cluster.shadow.session import open_shadow_session
from ktnet.errors import ClusterUnreachable, Forbidden, NotFound, RemoteProtocolError, ShadowFailed

SPEC = ShadowSpec("demo", "ktnet-shadow:0", "ssh-ed25519 AAAA", timeout_s=5)


def run(scenario, **options):
    async def main():
        async with asyncio.timeout(30), open_cluster(**options) as cluster:
            await scenario(cluster)

    asyncio.run(main())


async def fail(cluster, error, words="", spec=SPEC):
    """The error of a session that must fail and leave nothing."""
    with pytest.raises(error, match=words) as raised:
        async with open_shadow_session(cluster.api, spec, lambda _: None):
            pytest.fail("the session opened")
    assert cluster.objects() == []
    return raised.value


def test_a_session_comes_and_goes():
    async def scenario(cluster):
        said = []
        async with open_shadow_session(cluster.api, SPEC, said.append) as session:
            name = session.name
            assert name.startswith("ktnet-connect-")
            assert session.host_key == HOST_KEY
            assert session.pod.ip == "10.244.0.9"
            job = cluster.store.get("jobs", "demo", name)
            lease = cluster.store.get("leases", "demo", name)
            (owner,) = lease["metadata"]["ownerReferences"]
            assert owner["uid"] == job["metadata"]["uid"]
            renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
            assert abs((datetime.now(UTC) - renewed).total_seconds()) < 5
            assert "@" in lease["spec"]["holderIdentity"]
            assert len(cluster.objects()) == 3
        assert cluster.objects() == []

    run(scenario)


def test_the_lease_is_renewed_whatever_the_api_server_says(monkeypatch):
    monkeypatch.setattr(heartbeat, "_PERIOD_S", 0.02)

    async def scenario(cluster):
        async with open_shadow_session(cluster.api, SPEC, lambda _: None) as session:

            async def next_renewal():
                with cluster.store.watch("leases", "demo") as events:
                    seen = set()
                    async for _, lease in events:
                        seen.add(lease["spec"]["renewTime"])
                        if len(seen) == 3:
                            return

            await next_renewal()
            cluster.denied.add(("patch", "leases"))
            await cluster.until_asked(len(cluster.server.requests) + 3)
            cluster.denied.clear()
            await next_renewal()
            assert session.host_key

    run(scenario)


def test_a_lease_that_somebody_deletes_is_made_anew(monkeypatch):
    monkeypatch.setattr(heartbeat, "_PERIOD_S", 0.02)

    async def scenario(cluster):
        async with open_shadow_session(cluster.api, SPEC, lambda _: None) as session:
            (lease,) = cluster.store.list("leases", "demo")
            cluster.store.delete("leases", "demo", session.name)
            while not (leases := cluster.store.list("leases", "demo")):
                cluster.asked.clear()
                await cluster.asked.wait()
            assert leases[0]["metadata"]["uid"] != lease["metadata"]["uid"]
            assert leases[0]["spec"]["holderIdentity"] == lease["spec"]["holderIdentity"]
            for obj in (lease, leases[0]):
                (owner,) = obj["metadata"]["ownerReferences"]
                assert (owner["kind"], owner["name"]) == ("Job", session.name)
        assert cluster.objects() == []

    run(scenario)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_had_is_told_at_once(reason):
    async def scenario(cluster):
        cluster.kubelet.state = {"waiting": {"reason": reason, "message": "no such image"}}
        error = await fail(cluster, ShadowFailed, "no such image")
        assert "KTNET_IMAGE" in error.hint

    run(scenario)


def test_no_room_is_told_at_once():
    async def scenario(cluster):
        await fail(cluster, ShadowFailed, "no node takes the shadow pod")

    run(scenario, nodes=0)


def test_what_the_job_controller_cannot_create_is_told_at_once():
    async def scenario(cluster):
        async def complain():
            with cluster.store.watch("jobs", "demo") as events:
                async for _, job in events:
                    meta = job["metadata"]
                    event = {
                        "metadata": {"name": meta["name"] + ".1"},
                        "involvedObject": {
                            "kind": "Job",
                            "namespace": "demo",
                            "name": meta["name"],
                            "uid": meta["uid"],
                        },
                        "reason": "FailedCreate",
                        "message": "exceeded quota: tiny",
                        "type": "Warning",
                    }
                    cluster.store.create("events", "demo", event)
                    return

        cluster.kubelet.state = {"waiting": {"reason": "ContainerCreating"}}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(complain())
            await fail(cluster, ShadowFailed, "exceeded quota: tiny")

    run(scenario)


def test_a_shadow_that_ends_at_once_tells_its_last_words():
    async def scenario(cluster):
        cluster.kubelet.state = {"terminated": {"exitCode": 1, "reason": "Error"}}
        await fail(cluster, ShadowFailed, "exit code 1")

    run(scenario)


def test_a_shadow_that_dies_before_its_key_tells_its_last_words():
    async def scenario(cluster):
        cluster.kubelet.log_text = "starting\nModuleNotFoundError: asyncssh\n"

        async def die():
            with cluster.store.watch("pods", "demo") as events:
                async for _, pod in events:
                    if pod["status"].get("phase") == "Running":
                        cluster.kubelet.state = {"terminated": {"exitCode": 1}}
                        cluster.kubelet.report(pod)
                        return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(die())
            error = await fail(cluster, ShadowFailed, "exit code 1")
        assert error.hint in {
            "its last words: ModuleNotFoundError: asyncssh",
            "is it the image of this ktnet's own version?",
        }

    run(scenario)


def test_a_shadow_without_a_key_fails_in_time():
    async def scenario(cluster):
        cluster.kubelet.log_text = "no key here\n"
        spec = ShadowSpec("demo", "image", "key", timeout_s=0.3)
        error = await fail(cluster, ShadowFailed, "no host key within 0.3 s", spec)
        assert error.hint == "its last words: no key here"

    run(scenario)


def test_a_shadow_of_another_version_is_refused():
    async def scenario(cluster):
        cluster.kubelet.log_text = cluster.kubelet.log_text.replace(" v1 ", " v99 ")
        await fail(cluster, RemoteProtocolError, "version 99")

    run(scenario)


def test_a_pod_that_does_not_come_up_fails_in_time():
    async def scenario(cluster):
        cluster.kubelet.state = {"waiting": {"reason": "ContainerCreating"}}
        spec = ShadowSpec("demo", "image", "key", timeout_s=0.3)
        await fail(cluster, ShadowFailed, "within 0.3 s: ContainerCreating", spec)

    run(scenario)


def test_the_key_is_read_again_after_a_restart():
    async def scenario(cluster):
        async with open_shadow_session(cluster.api, SPEC, lambda _: None) as session:
            other = HOST_KEY.replace("AAAAAAAA", "AAABBBBB", 1)
            cluster.kubelet.container_id = "containerd://2"
            cluster.kubelet.log_text = cluster.kubelet.log_text.replace(HOST_KEY, other)
            cluster.kubelet.report(cluster.store.get("pods", "demo", session.pod.name))
            await session.read_host_key()
            assert session.host_key == other
            assert session.pod.container_id == "containerd://2"

    run(scenario)


@pytest.mark.parametrize(
    "right",
    [
        ("create", "jobs"),
        ("create", "leases"),
        ("list", "pods"),
        ("watch", "pods"),
        ("get", "pods"),
        ("get", "pods/log"),
    ],
)
def test_a_missing_right_is_named_and_nothing_stays(right):
    async def scenario(cluster):
        cluster.denied.add(right)
        if right == ("watch", "pods"):
            # Else the first list might have the pod running already.
            cluster.kubelet.state = {"waiting": {"reason": "ContainerCreating"}}
        with pytest.raises(Forbidden, match=f"{right[0]} {right[1]} in namespace demo"):
            async with open_shadow_session(cluster.api, SPEC, lambda _: None):
                pytest.fail("the session opened")
        cluster.denied.clear()
        with cluster.store.watch("pods") as events:
            while cluster.objects():
                await anext(events)

    run(scenario)


@pytest.mark.parametrize("right", [("list", "events"), ("watch", "events")])
def test_the_right_to_see_events_is_not_needed(right):
    async def scenario(cluster):
        cluster.denied.add(right)
        async with open_shadow_session(cluster.api, SPEC, lambda _: None) as session:
            assert session.host_key

    run(scenario)


def test_a_bad_token_is_unauthorised():
    async def scenario(cluster):
        cluster.tokens.clear()
        await fail(cluster, ClusterUnreachable, "credentials")

    run(scenario)


def test_a_namespace_that_is_not_there():
    async def scenario(cluster):
        await fail(cluster, NotFound, "nowhere", ShadowSpec("nowhere", "image", "key"))

    run(scenario)


def test_the_error_of_the_user_comes_out_by_itself():
    async def scenario(cluster):
        with pytest.raises(ZeroDivisionError):
            async with open_shadow_session(cluster.api, SPEC, lambda _: None):
                raise ZeroDivisionError
        assert cluster.objects() == []

    run(scenario)


@pytest.mark.parametrize("requests", range(1, 10))
def test_cancelled_at_any_request_nothing_stays(requests):
    async def scenario(cluster):
        async def connect():
            async with open_shadow_session(cluster.api, SPEC, lambda _: None) as session:
                while True:
                    await cluster.api.get("pods", session.pod.name, namespace="demo")

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(connect())
            await cluster.until_asked(requests)
            task.cancel()
        assert cluster.objects() == []

    run(scenario)


def test_admission_that_refuses_the_job_is_no_missing_right():
    async def handler(request):
        assert request.method == "POST"
        message = 'jobs.batch "x" is forbidden: exceeded quota: few, used: count/jobs.batch=1'
        body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": message}
        return web.json_response(body, status=403)

    async def main():
        async with open_http(handler) as api:
            with pytest.raises(ShadowFailed, match="exceeded quota: few"):
                async with open_shadow_session(api, SPEC, lambda _: None):
                    pytest.fail("the session opened")

    asyncio.run(main())
