"""Variables, commands and downward API: what the documentation of Pod says."""

import pytest

from ktnet.lab.node.environment import build_command, build_environment, expand, read_field
from ktnet.lab.node.images import Image
from ktnet.lab.node.refusal import Refusal

IMAGE = Image(entrypoint=("serve", "--fast"), command=("all",), entries=())
POD = {
    "metadata": {
        "name": "a",
        "namespace": "demo",
        "uid": "u",
        "labels": {"b": "2", "a": '1"\n'},
        "annotations": {},
    },
    "spec": {"nodeName": "lab-node", "serviceAccountName": "default"},
    "status": {"podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}], "hostIP": "192.168.64.1"},
}


def find_nothing(plural, namespace, name):
    return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $(A", "$A ${A} $(A"),
        ("$", "$"),
        ("", ""),
    ],
)
def test_expansion(text, expected):
    assert expand(text, {"A": "1", "B": ""}) == expected


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, ("serve", "--fast", "all")),
        ({"args": ["one"]}, ("serve", "--fast", "one")),
        ({"command": ["other"]}, ("other",)),
        ({"command": ["other"], "args": ["$(A)"]}, ("other", "1")),
    ],
)
def test_command_and_args_replace_what_the_image_has(container, expected):
    assert build_command(container, IMAGE, {"A": "1"}) == expected


def test_image_without_command_needs_one_from_the_pod():
    with pytest.raises(Refusal, match="no command specified"):
        build_command({}, Image(entrypoint=(), command=(), entries=()), {})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "a"),
        ("metadata.namespace", "demo"),
        ("metadata.uid", "u"),
        ("metadata.labels['b']", "2"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'a="1\\"\\n"\nb="2"'),
        ("spec.nodeName", "lab-node"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.244.0.9"),
        ("status.podIPs", "10.244.0.9"),
        ("status.hostIP", "192.168.64.1"),
    ],
)
def test_fields_of_the_downward_api(path, expected):
    assert read_field(POD, path) == expected


def test_unknown_field_is_refused():
    with pytest.raises(Refusal) as caught:
        read_field(POD, "spec.containers")
    assert caught.value.reason == "CreateContainerConfigError"


def test_later_variables_see_earlier_ones_and_win():
    container = {
        "env": [
            {"name": "FIRST", "value": "1"},
            {"name": "SECOND", "value": "$(FIRST)$(THIRD)"},
            {"name": "THIRD", "value": "3"},
            {"name": "FIRST", "value": "again"},
            {"name": "EMPTY"},
        ]
    }
    variables = build_environment(POD, container, IMAGE, [], find_nothing)
    assert variables["FIRST"] == "again"
    assert variables["SECOND"] == "1$(THIRD)"
    assert variables["EMPTY"] == ""
    assert variables["HOSTNAME"] == "a"
    assert variables["PATH"].endswith(":/bin")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"secretRef": {"name": "s"}}]}, 'secret "s" not found'),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, 'configmap "c" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            'secret "s" not found',
        ),
    ],
)
def test_missing_objects_refuse_the_container(container, message):
    with pytest.raises(Refusal) as caught:
        build_environment(POD, container, IMAGE, [], find_nothing)
    assert (caught.value.reason, caught.value.message) == ("CreateContainerConfigError", message)


def test_missing_key_refuses_the_container():
    def find(plural, namespace, name):
        return {"data": {}}

    reference = {"configMapKeyRef": {"name": "c", "key": "k"}}
    container = {"env": [{"name": "A", "valueFrom": reference}]}
    with pytest.raises(Refusal, match="couldn't find key k in ConfigMap demo/c"):
        build_environment(POD, container, IMAGE, [], find)
    reference["configMapKeyRef"]["optional"] = True
    assert "A" not in build_environment(POD, container, IMAGE, [], find)
