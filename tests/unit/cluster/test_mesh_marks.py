"""Marks, names, labels and rules of one's own version."""

import pytest
import yaml

from ktnet.cluster.mesh.marks import build_labels, build_name, build_rules, parse_mark
from ktnet.errors import UsageError


def test_a_mark_of_ones_own():
    assert parse_mark("alice") == ("version", "alice")
    assert parse_mark("X-Dev:alice") == ("x-dev", "alice")
    key, value = parse_mark(None)
    assert key == "version"
    assert len(value) == 5
    assert parse_mark(None)[1] != value


@pytest.mark.parametrize("text", ["", ":", "a b", "version:", ":x", "-x", "x" * 64, "a/b:c", "ä"])
def test_what_is_no_mark(text: str):
    with pytest.raises(UsageError):
        parse_mark(text)


def test_the_name_says_whose_it_is():
    assert build_name("tomcat", "Alice_1") == "tomcat-kt-alice-1"
    with pytest.raises(UsageError):
        build_name("tomcat" * 10, "alice")


def test_labels_are_the_workloads_but_for_its_controllers_own():
    labels = build_labels({"app": "t", "pod-template-hash": "x", "version": "v1"}, "version", "a")
    assert labels == {"app": "t", "version": "a"}


@pytest.mark.parametrize("stable", [None, "v1"])
def test_rules_are_ready_to_be_applied(stable: str | None):
    labels = {"app": "tomcat"} | ({"version": stable} if stable else {})
    rule, routes = yaml.safe_load_all(build_rules("tomcat", labels, "version", "Alice"))
    subsets = {each["name"]: each["labels"] for each in rule["spec"]["subsets"]}
    assert subsets["alice"] == {"version": "Alice"}
    mine, others = routes["spec"]["http"]
    assert mine["match"] == [{"headers": {"version": {"exact": "Alice"}}}]
    assert mine["route"][0]["destination"]["subset"] in subsets
    assert others["route"][0]["destination"].get("subset") == ("stable" if stable else None)
