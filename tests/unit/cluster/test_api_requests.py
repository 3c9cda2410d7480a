"""Requests to the API server as they go out, and what is made of what comes back."""

import asyncio
import json

import pytest
from aiohttp import web
from forward_peer import open_http, target_of

from ktnet.cluster.server import informer
from ktnet.cluster.server.answers import Expired
from ktnet.cluster.server.api import open_api
from ktnet.cluster.server.informer import run_informer
from ktnet.cluster.services import open_service_index
from ktnet.errors import ClusterUnreachable, Forbidden
from ktnet.tasks import open_tasks


def run(handler, scenario):
    async def main():
        async with open_http(handler) as api:
            return await scenario(api)

    return asyncio.run(main())


def service(name, version, namespace="demo"):
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": version}}


def listing(version, *objects):
    return web.json_response({"metadata": {"resourceVersion": version}, "items": list(objects)})


async def stream(request, *pieces):
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
        await asyncio.sleep(0)
    return response


def line(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def test_verbs_and_bodies():
    seen = []

    async def handler(request):
        body = json.loads(await request.read() or b"null")
        seen.append((request.method, request.path_qs, request.headers.get("Content-Type"), body))
        assert request.headers["User-Agent"].startswith("ktnet/")
        return web.json_response({"kind": "X"})

    async def scenario(api):
        await api.get("jobs", "j", namespace="n")
        await api.create("leases", {"a": 1}, namespace="n", dry_run=True)
        await api.replace("leases", "l", {"a": 2}, namespace="n")
        await api.patch("leases", "l", {"a": None}, kind="merge", namespace="n")
        await api.patch("services", "s", [{"op": "test"}], kind="json", namespace="n")
        await api.delete("jobs", "j", namespace="n", grace_s=0, uid="u")

    run(handler, scenario)
    plain = "application/json"
    assert [(method, path, kind) for method, path, kind, _ in seen] == [
        ("GET", "/apis/batch/v1/namespaces/n/jobs/j", plain),
        ("POST", "/apis/coordination.k8s.io/v1/namespaces/n/leases?dryRun=All", plain),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", plain),
        (
            "PATCH",
            "/apis/coordination.k8s.io/v1/namespaces/n/leases/l",
            "application/merge-patch+json",
        ),
        ("PATCH", "/api/v1/namespaces/n/services/s", "application/json-patch+json"),
        ("DELETE", "/apis/batch/v1/namespaces/n/jobs/j", plain),
    ]
    assert seen[3][3] == {"a": None}
    assert seen[5][3] == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    }


def test_the_token_goes_with_every_request():
    async def main():
        seen = []

        async def handler(request):
            seen.append(request.headers.get("Authorization"))
            raise web.HTTPUnauthorized

        async with (
            open_http(handler) as plain,
            open_api(target_of(plain.target.server, token="abc")) as api,
        ):
            with pytest.raises(ClusterUnreachable, match="credentials"):
                await api.get("pods", "p", namespace="n")
            with pytest.raises(ClusterUnreachable, match="credentials"):
                await api.dial_websocket("pods", "p", "exec", {}, namespace="n", protocol="x")
        assert seen == ["Bearer abc", "Bearer abc"]

    asyncio.run(main())


def test_a_list_comes_in_pages():
    async def handler(request):
        following = request.query.get("continue")
        assert request.query["limit"] == "500"
        assert request.query["labelSelector"] == "a=b"
        metadata = {"resourceVersion": "9"} if following else {"continue": "next"}
        item = service("two" if following else "one", "1")
        return web.json_response({"metadata": metadata, "items": [item]})

    async def scenario(api):
        answer = await api.list_all("services", labels={"a": "b"}, keep=lambda obj: obj["metadata"])
        assert [item["name"] for item in answer["items"]] == ["one", "two"]
        assert answer["metadata"]["resourceVersion"] == "9"

    run(handler, scenario)


@pytest.mark.parametrize("body", ["<html>log in</html>", "[]", "", "[" * 100_000])
def test_what_is_no_api_server_is_unreachable(body):
    async def handler(_request):
        return web.Response(text=body)

    async def scenario(api):
        with pytest.raises(ClusterUnreachable, match="no Kubernetes API server"):
            await api.get("pods", "p", namespace="n")

    run(handler, scenario)


def test_watch_lines_may_come_in_any_pieces():
    text = line("ADDED", service("a", "6")) + line("BOOKMARK", service("", "7"))

    async def handler(request):
        return await stream(request, *(text[i : i + 7] for i in range(0, len(text), 7)))

    async def scenario(api):
        async with api.open_watch("services", resource_version="5") as events:
            assert [kind async for kind, _ in events] == ["ADDED", "BOOKMARK"]

    run(handler, scenario)


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([line("ERROR", {"code": 410, "message": "too old"})], Expired),
        ([b"garbage\n"], ClusterUnreachable),
        ([b'{"type": 1, "object": "x"}\n'], ClusterUnreachable),
        ([b'{"type": "ADDED"}\n'], ClusterUnreachable),
    ],
)
def test_watches_that_go_wrong(pieces, error):
    async def handler(request):
        return await stream(request, *pieces)

    async def scenario(api):
        with pytest.raises(error):  # noqa: PT012
            async with api.open_watch("services") as events:
                async for _ in events:
                    pass

    run(handler, scenario)


def test_a_watch_can_be_forbidden():
    async def handler(_request):
        raise web.HTTPForbidden

    async def scenario(api):
        with pytest.raises(Forbidden, match="watch services in the whole cluster"):
            async with api.open_watch("services"):
                pass

    run(handler, scenario)


def test_an_informer_goes_on_after_ends_expiry_and_outage(monkeypatch):
    monkeypatch.setattr(informer, "_FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(informer, "_LONGEST_DELAY_S", 0.002)
    script = [
        ("watch", "5", [line("ADDED", service("b", "6"))]),
        ("watch", "6", "cut"),
        ("watch", "6", [line("BOOKMARK", service("", "8"))]),
        ("watch", "8", 503),
        ("watch", "8", [line("ERROR", {"code": 410})]),
        ("list", None, listing("20", service("c", "12"))),
        ("watch", "20", [line("DELETED", service("c", "21")), line("ADDED", service("d", "22"))]),
    ]
    done = asyncio.Event()

    async def handler(request):
        if not script:
            done.set()
            await asyncio.Event().wait()
        kind, version, answer = script.pop(0)
        assert kind == ("watch" if "watch" in request.query else "list")
        assert request.query.get("resourceVersion") == version
        if answer == "cut":
            response = await stream(request, b'{"type": "AD')
            request.transport.abort()
            return response
        if answer == 503:
            return web.Response(status=503)
        return answer if kind == "list" else await stream(request, *answer)

    class Mirror:
        def __init__(self):
            self.told = []

        def replace(self, objects):
            self.told.append([obj["metadata"]["name"] for obj in objects])

        def change(self, kind, obj):
            self.told.append((kind, obj["metadata"]["name"]))

    async def scenario(api):
        mirror = Mirror()
        async with asyncio.timeout(10), open_tasks() as tasks:
            tasks.create_task(run_informer(api, "services", "5", mirror))
            await done.wait()
        return mirror.told

    assert run(handler, scenario) == [
        ("ADDED", "b"),
        ["c"],
        ("DELETED", "c"),
        ("ADDED", "d"),
    ]


def test_the_service_index_outlives_a_missing_right_to_watch(caplog):
    async def handler(request):
        if "watch" in request.query:
            raise web.HTTPForbidden
        return listing("5", service("tomcat", "1"))

    async def scenario(api):
        async with asyncio.timeout(10), open_service_index(api, "demo") as index:
            while "not noticed" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            assert index.find("demo", "tomcat") is not None

    run(handler, scenario)


@pytest.mark.parametrize("items", ['"x"', "[1]", '[{"metadata": "x"}]', "{}"])
def test_lists_of_anything_else_than_objects_are_no_kubernetes(items):
    async def handler(_request):
        return web.Response(text=f'{{"items": {items}, "metadata": 7}}')

    async def scenario(api):
        with pytest.raises(ClusterUnreachable, match="no Kubernetes"):
            await api.list_all("services")

    run(handler, scenario)


@pytest.mark.parametrize("allowed", ["all", "own", "none"])
def test_the_service_index_takes_what_it_may_see(allowed):
    async def handler(request):
        whole = "/namespaces/" not in request.path
        if allowed == "none" or (whole and allowed == "own"):
            raise web.HTTPForbidden
        if "watch" in request.query:
            await stream(request, line("ADDED", service("later", "6")))
            await asyncio.Event().wait()
        return listing("5", service("tomcat", "1"))

    async def scenario(api):
        async with asyncio.timeout(10), open_service_index(api, "demo") as index:
            assert (index.find("demo", "tomcat") is not None) == (allowed != "none")
            assert index.find("demo", "nothing") is None
            assert bool(index.warning) == (allowed != "all")
            while allowed != "none" and index.find("demo", "later") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    run(handler, scenario)


def test_an_error_of_the_body_comes_out_by_itself():
    async def main():
        async with open_tasks() as tasks:
            tasks.create_task(asyncio.Event().wait())
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())


def test_an_error_of_a_task_ends_the_body():
    async def fail():
        raise KeyError("task")

    async def main():
        async with open_tasks() as tasks:
            tasks.create_task(fail())
            await asyncio.Event().wait()

    with pytest.raises(KeyError, match="task"):
        asyncio.run(main())


def test_cancelling_the_body_cancels():
    async def main():
        async with asyncio.timeout(0.01), open_tasks() as tasks:
            tasks.create_task(asyncio.Event().wait())
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
