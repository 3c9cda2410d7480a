"""The API server over HTTPS: verbs, refusals, lists, watches, discovery."""

import asyncio
import io
import json
import ssl

import aiohttp
import pytest
from apilab import LIMITED, build_pod, build_store, open_lab, run_pod, until

from ktnet.lab.api.authentication import MASTERS

PODS = "/api/v1/namespaces/demo/pods"
MAPS = "/api/v1/namespaces/demo/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/demo/leases"
DEPLOYMENTS = "/apis/apps/v1/namespaces/demo/deployments"
JOBS = "/apis/batch/v1/namespaces/demo/jobs"

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "main", "image": "lab/any:1"}]},
        },
    },
}


def config(name, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"t": "x"}},
        "data": data,
    }


def with_lab(scenario, **options):
    async def run():
        async with open_lab(**options) as lab:
            await scenario(lab)

    asyncio.run(run())


def test_an_object_lives_from_create_to_delete():
    async def scenario(lab):
        status, made = await lab.ask("POST", MAPS, config("c", a="1"))
        assert (status, made["kind"], made["data"]) == (201, "ConfigMap", {"a": "1"})
        assert await lab.ask("GET", f"{MAPS}/c") == (200, made)
        status, put = await lab.ask("PUT", f"{MAPS}/c", {**made, "data": {"a": "2"}})
        assert (status, put["data"]) == (200, {"a": "2"})
        assert (await lab.ask("PUT", f"{MAPS}/c", made))[0] == 409
        status, patched = await lab.ask(
            "PATCH",
            f"{MAPS}/c",
            json.dumps({"data": {"b": "3"}}),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert (status, patched["data"]) == (200, {"a": "2", "b": "3"})
        status, gone = await lab.ask("DELETE", f"{MAPS}/c")
        assert (status, gone["status"], gone["details"]["uid"]) == (
            200,
            "Success",
            made["metadata"]["uid"],
        )
        assert (await lab.ask("GET", f"{MAPS}/c"))[0] == 404

    with_lab(scenario)


def test_a_put_creates_a_lease_but_not_a_configmap():
    async def scenario(lab):
        assert (await lab.ask("PUT", f"{MAPS}/c", config("c")))[0] == 404
        lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
        assert (await lab.ask("PUT", f"{LEASES}/l", lease))[0] == 201

    with_lab(scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason", "message"),
    [
        ("GET", f"{MAPS}/x", None, 404, "NotFound", 'configmaps "x" not found'),
        ("GET", f"{DEPLOYMENTS}/x", None, 404, "NotFound", 'deployments.apps "x" not found'),
        ("GET", f"{PODS}/x/bogus", None, 404, "NotFound",
         "the server could not find the requested resource"),
        ("GET", "/api/v1/namespaces/demo/foos", None, 404, "NotFound",
         "the server could not find the requested resource"),
        ("POST", f"{MAPS}/x", config("x"), 405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource"),
        ("OPTIONS", f"{MAPS}/x", None, 405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource"),
        ("DELETE", "/version", None, 405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource"),
        ("POST", MAPS, "{broken", 400, "BadRequest",
         ("the object provided is unrecognized (must be of type ConfigMap): couldn't get "
         "version/kind; json parse error: invalid character 'b' looking for beginning of object "
         "key string ({broken)")),
        ("POST", MAPS, {"kind": "Secret"}, 400, "BadRequest",
         ('Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to '
         "(core.ConfigMap): unknown conversion")),
        ("POST", MAPS, {"data": {"a": 1}}, 400, "BadRequest",
         ('ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal '
         "number into Go struct field ConfigMap.data of type string")),
        ("POST", MAPS, {"metadata": {"name": "x", "namespace": "y"}}, 400, "BadRequest",
         "the namespace of the provided object does not match the namespace sent on the request"),
        ("POST", MAPS, {"metadata": {}}, 422, "Invalid",
         ('ConfigMap "" is invalid: metadata.name: Required value: name or generateName is '
         "required")),
        ("POST", LEASES, {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-02T03:04:05Z"}},
         400, "BadRequest",
         ('Lease in version "v1" cannot be handled as a Lease: parsing time "2026-01-02T03:04:05Z" '
         'as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"')),
        ("GET", f"{PODS}?fieldSelector=spec.foo=1", None, 400, "BadRequest",
         "field label not supported: spec.foo"),
        ("GET", f"{PODS}?resourceVersionMatch=Exact", None, 422, "Invalid",
         ('ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
         "resourceVersionMatch is forbidden unless resourceVersion is provided")),
        ("GET", f"{PODS}?watch=1&resourceVersion=abc", None, 500, None,
         'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'),
        ("DELETE", "/api/v1/namespaces/demo/configmaps/x?propagationPolicy=Bogus", None, 422,
         "Invalid",
         ('DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Bogus": '
         'supported values: "Foreground", "Background", "Orphan", "nil"')),
    ],
)  # fmt: skip
def test_refusals_have_the_words_of_a_real_api_server(method, path, body, status, reason, message):
    async def scenario(lab):
        answer = await lab.ask(method, path, body, headers={"Content-Type": "application/json"})
        assert answer[0] == status
        found = answer[1]
        assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", status)
        assert (found.get("reason"), found["message"]) == (reason, message)

    with_lab(scenario)


def test_each_wrong_field_is_a_cause():
    async def scenario(lab):
        bad = build_pod("bad", restartPolicy="Sometimes")
        bad["spec"]["containers"] = [
            {"name": "A_B", "ports": [{"containerPort": 99999}], "env": [{"name": ""}]}
        ]
        status, answer = await lab.ask("POST", PODS, bad)
        assert (status, answer["details"]["name"]) == (422, "bad")
        assert [cause["field"] for cause in answer["details"]["causes"]] == [
            "spec.containers[0].name",
            "spec.containers[0].image",
            "spec.containers[0].ports[0].containerPort",
            "spec.containers[0].env[0].name",
            "spec.restartPolicy",
        ]

    with_lab(scenario)


def test_paths_that_nobody_serves_get_the_plain_page():
    async def scenario(lab):
        for path in ("/nosuch", "/apis/foo.example.com/v1/namespaces/demo/bars"):
            assert await lab.ask("GET", path, raw=True) == (404, b"404 page not found\n")

    with_lab(scenario)


def test_a_list_can_be_read_as_a_table():
    async def scenario(lab):
        await lab.ask("POST", MAPS, config("c"))
        table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        _, listed = await lab.ask("GET", MAPS, headers=table)
        assert listed["kind"] == "Table"
        assert [row["cells"][:2] for row in listed["rows"]] == [["c", 0]]

    with_lab(scenario)


def test_objects_are_read_and_written_as_yaml():
    async def scenario(lab):
        yaml = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
        body = "metadata: {name: c}\ndata: {a: b}"
        status, said = await lab.ask("POST", MAPS, body, headers=yaml, raw=True)
        assert (status, lab.headers["Content-Type"]) == (201, "application/yaml")
        assert b"\n  a: b\n" in said
        assert (await lab.ask("POST", MAPS, "a: [", headers=yaml, raw=True))[0] == 400

    with_lab(scenario)


def test_what_the_lab_cannot_do_it_says():
    async def scenario(lab):
        await lab.ask("POST", MAPS, config("c"))
        apply = {"Content-Type": "application/apply-patch+yaml"}
        assert (await lab.ask("PATCH", f"{MAPS}/c", "{}", headers=apply))[0] == 501
        spdy = {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"}
        run_pod(lab.store, "p")
        assert (await lab.ask("POST", f"{PODS}/p/portforward", headers=spdy))[0] == 501

    with_lab(scenario)


def test_a_body_that_is_too_large_is_refused():
    async def scenario(lab):
        large = io.BytesIO(json.dumps(config("c", a="x" * 3_200_000)).encode())
        status, answer = await lab.ask("POST", MAPS, large)
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")

    with_lab(scenario)


def test_who_is_asking():
    async def scenario(lab):
        assert (await lab.ask("GET", "/readyz", token=None, raw=True)) == (200, b"ok")
        assert (await lab.ask("GET", "/version", token=None))[0] == 200
        status, answer = await lab.ask("GET", "/api", token=None)
        assert (status, answer["message"]) == (
            403,
            'forbidden: User "system:anonymous" cannot get path "/api"',
        )
        assert (await lab.ask("GET", "/version", token="wrong"))[0] == 401
        status, answer = await lab.ask("GET", PODS, token="wrong")
        assert (status, answer["message"]) == (401, "Unauthorized")
        assert (await lab.ask("GET", "/api", token=LIMITED))[0] == 200

    with_lab(scenario)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", PODS, ('pods is forbidden: User "limited" cannot list resource "pods" in API group '
         '"" in the namespace "demo"')),
        ("GET", "/api/v1/pods", ('pods is forbidden: User "limited" cannot list resource "pods" in '
         'API group "" at the cluster scope')),
        ("GET", f"{DEPLOYMENTS}/x/scale", ('deployments.apps "x" is forbidden: User "limited" '
         'cannot get resource "deployments/scale" in API group "apps" in the namespace "demo"')),
        ("GET", f"{PODS}?watch=true", ('pods is forbidden: User "limited" cannot watch resource '
         '"pods" in API group "" in the namespace "demo"')),
        ("DELETE", PODS, ('pods is forbidden: User "limited" cannot deletecollection resource '
         '"pods" in API group "" in the namespace "demo"')),
        ("GET", "/api/v1/namespaces/demo/foos", ('foos is forbidden: User "limited" cannot list '
         'resource "foos" in API group "" in the namespace "demo"')),
        ("GET", "/api/v1/namespaces/demo", ('namespaces "demo" is forbidden: User "limited" cannot '
         'get resource "namespaces" in API group "" in the namespace "demo"')),
    ],
)  # fmt: skip
def test_rights_are_asked_for_before_anything_is_looked_up(method, path, message):
    async def scenario(lab):
        status, answer = await lab.ask(method, path, token=LIMITED)
        assert (status, answer["reason"], answer["message"]) == (403, "Forbidden", message)

    with_lab(scenario)


def test_the_authorizer_can_be_replaced():
    def only_pods(user, wanted):
        return MASTERS in user.groups and wanted.resource == "pods"

    async def scenario(lab):
        assert (await lab.ask("GET", PODS))[0] == 200
        assert (await lab.ask("GET", MAPS))[0] == 403

    with_lab(scenario, authorize=only_pods)


def test_may_i():
    async def scenario(lab):
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        asked = {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "demo"}}
        for token, allowed in ((None, None), (LIMITED, False), ("admin-token", True)):
            status, answer = await lab.ask("POST", path, {"spec": asked}, token=token)
            assert status == (403 if token is None else 201)
            if token is not None:
                assert answer["status"] == {"allowed": allowed}
        assert (await lab.ask("POST", path, {"spec": {}}))[0] == 422

    with_lab(scenario)


def test_lists_come_in_pages_that_fit_together():
    async def scenario(lab):
        for i in range(5):
            await lab.ask("POST", MAPS, config(f"page-{i}"))
        status, page = await lab.ask("GET", f"{MAPS}?limit=2")
        assert page["metadata"]["remainingItemCount"] == 3
        names = [item["metadata"]["name"] for item in page["items"]]
        # What happens meanwhile is not in the list.
        await lab.ask("DELETE", f"{MAPS}/page-2")
        await lab.ask("POST", MAPS, config("page-9"))
        while token := page["metadata"].get("continue"):
            status, page = await lab.ask("GET", f"{MAPS}?limit=2&continue={token}")
            names += [item["metadata"]["name"] for item in page["items"]]
        assert names == [f"page-{i}" for i in range(5)]
        lab.store.history.compact(lab.store.version)
        status, gone = await lab.ask("GET", f"{MAPS}?limit=2")
        token = gone["metadata"]["continue"]
        await lab.ask("POST", MAPS, config("page-8"))
        lab.store.history.compact(lab.store.version)
        status, answer = await lab.ask("GET", f"{MAPS}?limit=2&continue={token}")
        assert (status, answer["reason"]) == (410, "Expired")
        assert (await lab.ask("GET", f"{MAPS}?limit=1&continue=bm90"))[0] == 400
        selected = (await lab.ask("GET", f"{MAPS}?limit=1&labelSelector=t%3Dx"))[1]
        assert "remainingItemCount" not in selected["metadata"]

    with_lab(scenario)


def test_lists_of_the_future_and_of_the_past():
    async def scenario(lab):
        status, answer = await lab.ask("GET", f"{MAPS}?resourceVersion=999999")
        assert (status, lab.headers["Retry-After"]) == (504, "1")
        await lab.ask("POST", MAPS, config("c"))
        lab.store.history.compact(lab.store.version)
        status, answer = await lab.ask(
            "GET", f"{MAPS}?resourceVersion=1&resourceVersionMatch=Exact"
        )
        assert (status, answer["reason"]) == (410, "Expired")

    with_lab(scenario)


def test_a_collection_is_deleted_by_label():
    async def scenario(lab):
        await lab.ask("POST", MAPS, config("a"))
        await lab.ask("POST", MAPS, {"metadata": {"name": "other"}})
        _status, listed = await lab.ask("DELETE", f"{MAPS}?labelSelector=t%3Dx")
        assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
        assert [obj["metadata"]["name"] for obj in lab.store.list("configmaps")] == ["other"]

    with_lab(scenario)


def test_scale_is_what_autoscalers_see():
    async def scenario(lab):
        await lab.ask("POST", DEPLOYMENTS, DEPLOYMENT)
        json_patch = {"Content-Type": "application/json-patch+json"}

        async def patch(*operations):
            body = json.dumps(list(operations))
            return await lab.ask("PATCH", f"{DEPLOYMENTS}/d/scale", body, headers=json_patch)

        status, scale = await lab.ask("GET", f"{DEPLOYMENTS}/d/scale")
        assert (scale["spec"], scale["status"]) == (
            {"replicas": 1},
            {"replicas": 0, "selector": "app=x"},
        )
        test = {"op": "test", "path": "/spec/replicas", "value": 1}
        status, scale = await patch(test, {"op": "replace", "path": "/spec/replicas", "value": 0})
        assert (status, scale["spec"]) == (200, {})
        assert (await patch({**test, "value": 0}))[0] == 422
        assert (await patch({"op": "replace", "path": "/spec/replicas", "value": 3}))[0] == 200
        status, answer = await patch({"op": "add", "path": "/spec/replicas", "value": -1})
        assert (status, answer["message"]) == (
            422,
            (
                'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be '
                "greater than or equal to 0"
            ),
        )
        assert lab.store.get("deployments", "demo", "d")["spec"]["replicas"] == 3

    with_lab(scenario)


def test_deleting_a_job_warns_of_its_default():
    async def scenario(lab):
        spec = {"template": {"spec": {**build_pod("x")["spec"], "restartPolicy": "Never"}}}
        for query, gone in (("", False), ("?propagationPolicy=Background", True)):
            await lab.ask("POST", JOBS, {"metadata": {"name": "j"}, "spec": spec})
            await lab.ask("DELETE", f"{JOBS}/j{query}")
            assert ("Warning" in lab.headers) is not gone
            assert lab.store.has("jobs", "demo", "j") is not gone

    with_lab(scenario)


async def read_events(lab, path, count):
    """The first events of a watch, as (type, name)."""
    events = []
    async with lab.session.get(
        lab.server.url + path,
        headers={"Authorization": "Bearer admin-token"},
        ssl=lab.tls,
    ) as answer:
        assert answer.status == 200
        while len(events) < count and (line := await answer.content.readline()):
            event = json.loads(line)
            events.append((event["type"], event["object"]["metadata"].get("name")))
    return events


def test_a_watch_sees_what_enters_and_leaves_its_selector():
    async def scenario(lab):
        version = lab.store.version
        store = lab.store
        store.create("configmaps", "demo", config("w"))
        store.patch("configmaps", "demo", "w", {"data": {"a": "2"}})
        store.patch("configmaps", "demo", "w", {"metadata": {"labels": {"t": "y"}}})
        store.patch("configmaps", "demo", "w", {"data": {"a": "3"}})
        store.patch("configmaps", "demo", "w", {"metadata": {"labels": {"t": "x"}}})
        store.delete("configmaps", "demo", "w")
        path = f"{MAPS}?watch=1&labelSelector=t%3Dx&timeoutSeconds=1&resourceVersion={version}"
        assert await read_events(lab, path, 9) == [
            ("ADDED", "w"),
            ("MODIFIED", "w"),
            ("DELETED", "w"),
            ("ADDED", "w"),
            ("DELETED", "w"),
        ]

    with_lab(scenario)


def test_a_watch_goes_on_live():
    async def scenario(lab):
        lab.store.create("configmaps", "demo", config("old"))

        async def write():
            await until(lambda: any("watch" in entry.query for entry in lab.server.requests))
            lab.store.create("configmaps", "demo", config("new"))

        writing = asyncio.ensure_future(write())
        found = await read_events(lab, f"{MAPS}?watch=1", 2)
        await writing
        assert found == [("ADDED", "old"), ("ADDED", "new")]

    with_lab(scenario)


def test_a_watch_of_what_is_forgotten_gets_410_inside_of_200():
    async def scenario(lab):
        lab.store.create("configmaps", "demo", config("c"))
        lab.store.history.compact(lab.store.version)
        status, line = await lab.ask("GET", f"{MAPS}?watch=1&resourceVersion=1", raw=True)
        event = json.loads(line)
        assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
        assert event["object"]["message"] == f"too old resource version: 1 ({lab.store.version})"

    with_lab(scenario)


def test_a_streaming_list_says_where_it_ends():
    async def scenario(lab):
        lab.store.create("configmaps", "demo", config("c"))
        query = "watch=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
        _, text = await lab.ask("GET", f"{MAPS}?{query}&allowWatchBookmarks=1", raw=True)
        added, bookmark = map(json.loads, text.splitlines())
        assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
        assert bookmark["object"]["metadata"]["annotations"] == {
            "k8s.io/initial-events-end": "true"
        }

    with_lab(scenario)


def test_watches_end_with_their_client():
    async def scenario(lab):
        await read_events(
            lab,
            f"{MAPS}?watch=1&sendInitialEvents=1"
            "&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1",
            1,
        )
        await until(lambda: not lab.store._wakers["configmaps"])

    with_lab(scenario)


def test_partial_objects_are_metadata_only():
    async def scenario(lab):
        await lab.ask("POST", MAPS, config("c", a="1"))
        accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
        _status, listed = await lab.ask("GET", MAPS, headers=accept)
        assert listed["kind"] == "PartialObjectMetadataList"
        assert listed["items"][0].keys() == {"kind", "apiVersion", "metadata"}

    with_lab(scenario)


def test_discovery_in_both_forms_says_the_same():
    async def scenario(lab):
        _, legacy = await lab.ask("GET", "/apis/apps/v1")
        names = {each["name"] for each in legacy["resources"]}
        assert names == {
            "controllerrevisions",
            "deployments", "deployments/scale", "deployments/status",
            "statefulsets", "statefulsets/scale", "statefulsets/status",
            "replicasets", "replicasets/scale", "replicasets/status",
        }  # fmt: skip
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        _status, found = await lab.ask("GET", "/apis", headers={"Accept": accept})
        apps = next(item for item in found["items"] if item["metadata"]["name"] == "apps")
        assert names == {
            name
            for each in apps["versions"][0]["resources"]
            for name in (
                each["resource"],
                *(
                    f"{each['resource']}/{sub['subresource']}"
                    for sub in each.get("subresources", ())
                ),
            )
        }
        etag = {"Accept": accept, "If-None-Match": lab.headers["Etag"]}
        assert (await lab.ask("GET", "/apis", headers=etag, raw=True))[0] == 304
        for path in ("/api", "/api/v1", "/apis", "/apis/batch", "/", "/version"):
            assert (await lab.ask("GET", path))[0] == 200

    with_lab(scenario)


def test_the_request_log_keeps_what_was_asked():
    async def scenario(lab):
        await lab.ask("GET", f"{PODS}?limit=1", headers={"User-Agent": "a test"})
        await lab.ask("GET", f"{PODS}/x", token=LIMITED)
        first, second = lab.server.requests
        assert (first.method, first.path, first.query) == ("GET", PODS, "limit=1")
        assert (first.user, first.user_agent, first.status) == ("developer", "a test", 200)
        assert (second.user, second.status) == ("limited", 403)

    with_lab(scenario)


def test_the_certificate_is_for_the_server_and_from_its_ca():
    async def scenario(lab):
        strangers = ssl.create_default_context()
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await lab.session.get(f"{lab.server.url}/version", ssl=strangers)

    with_lab(scenario)


def test_bad_bytes_get_an_answer_or_an_end_but_never_harm():
    async def scenario(lab):
        for garbage in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST /api HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", lab.server.port, ssl=lab.tls, server_hostname="127.0.0.1"
            )
            writer.write(garbage)
            writer.write_eof() if writer.can_write_eof() else None
            await reader.read(1000)
            writer.close()
        assert (await lab.ask("GET", "/readyz", raw=True)) == (200, b"ok")

    with_lab(scenario, store=build_store())
