"""A mark's routes in any list of routes: marked requests go to it exactly where they would have
gone to the Service, and no other request goes anywhere else than before."""

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from ktnet.cluster.istio.hosts import Targets
from ktnet.cluster.istio.leftovers import find_marked
from ktnet.cluster.istio.plan import Version, plan_addition
from ktnet.cluster.istio.record import ANNOTATION, Entry, IstioRecord, parse_record
from ktnet.cluster.istio.removal import plan_removal
from ktnet.cluster.istio.routes import plan_routes
from ktnet.cluster.istio.step import diff_step
from ktnet.errors import Conflict

TARGETS = Targets("demo", ("tomcat",))
ENTRY = Entry("tomcat-kt-alice", "ada@laptop", "", ("tomcat",), "version", "alice")
VERSION = Version(ENTRY, TARGETS, {"tomcat": "1"}, {"app": "tomcat"}, {"app": "tomcat"})

HOSTS = st.sampled_from(
    ["tomcat", "tomcat.demo.svc.cluster.local", "tomcat.demo", "db", "tomcat.other.svc.x", "shop"]
)
VALUES = st.sampled_from(["alice", "ali", "bob", "v1"])
CONDITIONS = st.one_of(
    st.just({}),
    st.builds(lambda text: {"exact": text}, VALUES),
    st.builds(lambda text: {"prefix": text}, VALUES),
)
HEADERS = st.dictionaries(st.sampled_from(["version", "Version", "end-user"]), CONDITIONS)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "uri": st.builds(lambda text: {"prefix": text}, st.sampled_from(["/", "/api", "/db"])),
        "headers": HEADERS,
        "withoutHeaders": HEADERS,
    },
)
WAYS = st.builds(
    lambda host, subset: {"destination": {"host": host, "subset": subset}},
    HOSTS,
    st.sampled_from(["v1", "v2"]),
)
ROUTE = st.fixed_dictionaries(
    {"route": st.lists(WAYS, min_size=1, max_size=3)},
    optional={
        "name": st.sampled_from(["main", "ktnet-bob", "ktnet-alic"]),
        "match": st.lists(MATCHES, min_size=1, max_size=3),
        "timeout": st.just("5s"),
        "mirror": st.just({"host": "audit"}),
    },
)
ROUTES = st.lists(ROUTE, max_size=6)
REQUESTS = st.fixed_dictionaries(
    {"path": st.sampled_from(["/", "/api/x", "/db", "x"])},
    optional={"version": VALUES, "end-user": VALUES},
)


def meets(condition, value):
    if value is None:
        return False
    return value == condition.get("exact", value) and value.startswith(condition.get("prefix", ""))


def is_matched(match, request):
    """As Istio's reference says: all conditions of a match, header names in any case."""
    return (
        request["path"].startswith(match.get("uri", {}).get("prefix", ""))
        and all(meets(each, request.get(n.lower())) for n, each in match.get("headers", {}).items())
        and not any(
            meets(each, request.get(n.lower()))
            for n, each in match.get("withoutHeaders", {}).items()
        )
    )


def find_route(routes, request):
    """The first that has a match that the request meets, or none to meet."""
    for route in routes:
        if any(is_matched(match, request) for match in route.get("match", [{}])):
            return route
    return None


def is_ours(route):
    return any(TARGETS.find(way["destination"]["host"]) for way in route["route"])


@given(ROUTES, REQUESTS)
def test_marked_requests_are_led_to_it_and_no_others_anywhere_else(routes, request):
    before = copy.deepcopy(routes)
    planned = plan_routes({"metadata": {"name": "x"}, "spec": {"http": routes}}, TARGETS, ENTRY)
    assert routes == before
    was, now = find_route(routes, request), find_route(planned, request)
    is_others = was is None or not is_ours(was) or str(was.get("name")).startswith("ktnet-")
    if request.get("version") != "alice" or is_others:
        assert now == was
        return
    assert now["name"].partition("/")[0] == "ktnet-alice"
    (way,) = now["route"]
    assert way["destination"]["subset"] == "ktnet-alice"
    assert TARGETS.find(way["destination"]["host"]) == "tomcat"
    assert now.get("timeout") == was.get("timeout")
    assert "mirror" not in now


@given(ROUTES, ROUTES)
def test_it_is_taken_out_whatever_was_put_in_between(routes, others):
    obj = {
        "kind": "VirtualService",
        "metadata": {"name": "x", "uid": "1", "resourceVersion": "1", "annotations": {"a": "b"}},
        "spec": {"hosts": ["shop.example.com"], "http": routes},
    }
    steps = plan_addition([], [obj], VERSION)
    changed = next((step.after for step in steps if step.before is not None), obj)
    mixed = {**changed, "spec": {**changed["spec"], "http": [*others, *changed["spec"]["http"]]}}
    (*_, after) = [
        mixed,
        *(
            step.after
            for step in plan_removal("virtualservices", [mixed], ENTRY.session, ENTRY.name)
        ),
    ]
    assert after == {**obj, "spec": {**obj["spec"], "http": [*others, *routes]}}
    # Planning again finds nothing to do.
    if changed is not obj:
        (again,) = [
            step for step in plan_addition([], [changed], VERSION) if step.before is not None
        ] or [None]
        assert again is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | HOSTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "http",
                    "hosts",
                    "host",
                    "route",
                    "match",
                    "headers",
                    "destination",
                    "subsets",
                    "name",
                ]
            )
            | st.sampled_from(
                ["gateways", "delegate", "tcp", "labels", "subset", "version", "exact"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
SPECS = st.dictionaries(
    st.sampled_from(["http", "hosts", "host", "gateways", "tcp", "subsets", "workloadSelector"]),
    JSON,
)


@given(SPECS, SPECS, JSON)
def test_objects_that_make_no_sense_are_refused_or_left_alone(routes, rule, record):
    metadata = {"name": "x", "uid": "1", "resourceVersion": "1"}
    noted = {**metadata, "annotations": {ANNOTATION: json.dumps(record)}}
    for each in (metadata, noted):
        routed, ruled = ({"kind": "K", "metadata": each, "spec": spec} for spec in (routes, rule))
        try:
            for step in plan_addition([ruled], [routed], VERSION):
                diff_step(step)
        except Conflict:
            pass
        for plural, obj in (("virtualservices", routed), ("destinationrules", ruled)):
            for step in plan_removal(plural, [obj], ENTRY.session, ENTRY.name):
                diff_step(step)
        find_marked(
            [("virtualservices", "http", [routed]), ("destinationrules", "subsets", [ruled])]
        )


@given(JSON | st.text())
def test_a_record_is_read_or_not_understood(stored):
    text = stored if isinstance(stored, str) else json.dumps(stored)
    try:
        found = parse_record({"metadata": {"annotations": {ANNOTATION: text}}})
    except ValueError:
        return
    assert isinstance(found, IstioRecord)
