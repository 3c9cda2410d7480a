"""Patches: RFC 7386, RFC 6902, and lists that are merged by key."""

import pytest

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.patch import json_patch, merge_patch
from ktnet.lab.api.strategic import strategic_patch


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # The table of RFC 7386 appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_the_rfc_says(target, patch, result):
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # RFC 6902 appendix A.
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": 1}], {"foo": "bar", "baz": 1}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 9}], {"a": [9, 2]}),
        (
            {"a": {"b": 1}, "c": {}},
            [{"op": "move", "from": "/a/b", "path": "/c/d"}],
            {"a": {}, "c": {"d": 1}},
        ),
        ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
        (
            {"a/b": 1, "m~n": 2},
            [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}],
            {"a/b": 1},
        ),
        ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
        ({"spec": {}}, [{"op": "replace", "path": "/spec/n", "value": 1}], {"spec": {"n": 1}}),
    ],
)
def test_json_patch_does_what_the_rfc_and_kubernetes_say(target, patch, result):
    assert json_patch(target, patch) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "remove", "path": "/nosuch"},
        {"op": "add", "path": "/no/such", "value": 1},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "replace", "path": "/l/01", "value": 1},
        {"op": "move", "from": "/nosuch", "path": "/b"},
        {"op": "frobnicate", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/a"},
        {},
    ],
)
def test_a_json_patch_that_cannot_be_applied_is_422(operation):
    target = {"a": 1, "l": [1, 2]}
    with pytest.raises(ApiError) as refused:
        json_patch(target, [operation])
    assert refused.value.status == 422
    assert target == {"a": 1, "l": [1, 2]}


@pytest.mark.parametrize("patch", [{"op": "add"}, "x", 1, None, [1], [None]])
def test_what_is_no_json_patch_is_400(patch):
    with pytest.raises(ApiError) as refused:
        json_patch({}, patch)
    assert refused.value.status == 400


def test_strategic_patch_merges_containers_by_name():
    target = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "new", "image": "3"}]}}
    assert strategic_patch(target, patch) == {
        "spec": {
            "containers": [
                {"name": "a", "image": "1"},
                {"name": "b", "image": "2"},
                {"name": "new", "image": "3"},
            ]
        }
    }


def test_strategic_patch_puts_new_elements_as_the_patch_orders_them():
    service = {"kind": "Service", "spec": {"ports": [{"port": 80}]}}
    patch = {"spec": {"ports": [{"port": 443, "name": "tls"}, {"port": 80, "name": "http"}]}}
    ports = strategic_patch(service, patch)["spec"]["ports"]
    assert ports == [{"port": 443, "name": "tls"}, {"port": 80, "name": "http"}]


def test_strategic_patch_obeys_directives():
    target = {
        "metadata": {"finalizers": ["a", "b"]},
        "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "containers": [{"name": "a"}, {"name": "b"}],
        },
    }
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
        "spec": {
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
            "containers": [{"name": "a", "$patch": "delete"}],
            "$setElementOrder/containers": [{"name": "b"}],
        },
    }
    assert strategic_patch(target, patch) == {
        "metadata": {"finalizers": ["b", "c"]},
        "spec": {"strategy": {"type": "Recreate"}, "containers": [{"name": "b"}]},
    }


def test_strategic_patch_replaces_lists_without_a_key():
    assert strategic_patch({"args": ["a", "b"]}, {"args": ["c"]}) == {"args": ["c"]}
    assert strategic_patch({"env": [{"name": "a"}]}, {"env": None}) == {}


def test_strategic_patch_wants_the_key_of_each_element():
    with pytest.raises(ApiError) as refused:
        strategic_patch({"containers": []}, {"containers": [{"image": "x"}]})
    assert refused.value.status == 400
