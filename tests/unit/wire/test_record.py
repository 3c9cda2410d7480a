"""The annotation that an exchange leaves, and the patches that make and undo it."""

import contextlib
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktnet.wire.record import (
    ANNOTATION,
    Record,
    build_record_text,
    build_repoint,
    build_scale_down,
    build_undo,
    parse_record,
)

SCALE = Record("ktnet-exchange-a1b2c", "ada@laptop", "2026-11-24T15:00:00Z", "scale", replicas=3)
SELECTOR = Record(
    "ktnet-exchange-a1b2c",
    "ada@laptop",
    "2026-11-24T15:00:00Z",
    "selector",
    selector=(("app", "tomcat"), ("tier", "web")),
)


def apply(obj: dict, patch: list[dict]) -> dict:
    """RFC 6902, as far as it is used here."""
    obj = copy.deepcopy(obj)
    for step in patch:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]
        ]
        place = obj
        for part in parents:
            place = place[part]
        if step["op"] == "test":
            assert place[last] == step["value"], step
        elif step["op"] == "remove":
            del place[last]
        else:
            if step["op"] == "replace":
                assert last in place
            place[last] = step["value"]
    return obj


@pytest.mark.parametrize("annotations", [None, {}, {"a": "b"}])
@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_scaled_down_and_back(annotations: dict | None, replicas: int):
    metadata = {"resourceVersion": "7"} | (
        {} if annotations is None else {"annotations": annotations}
    )
    before = {"metadata": metadata, "spec": {"replicas": replicas, "paused": True}}
    record = Record("s", "h", "t", "scale", replicas=replicas)
    during = apply(before, build_scale_down(before, record))
    assert during["spec"] == {"replicas": 0, "paused": True}
    text, parsed = parse_record(during)
    assert parsed == record
    after = apply(during, build_undo(text, parsed))
    assert after["spec"] == before["spec"]
    assert (after["metadata"].get("annotations") or {}) == (annotations or {})


def test_repointed_and_back():
    before = {"metadata": {"resourceVersion": "7"}, "spec": {"selector": dict(SELECTOR.selector)}}
    during = apply(before, build_repoint(before, SELECTOR, {"ktnet.dev/session": "s"}))
    assert during["spec"]["selector"] == {"ktnet.dev/session": "s"}
    text, parsed = parse_record(during)
    assert apply(during, build_undo(text, parsed))["spec"] == before["spec"]


def test_only_one_can_undo():
    before = {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 2}}
    during = apply(before, build_scale_down(before, SCALE))
    text, parsed = parse_record(during)
    after = apply(during, build_undo(text, parsed))
    with pytest.raises((AssertionError, KeyError)):
        apply(after, build_undo(text, parsed))


def test_an_object_that_changed_meanwhile_is_not_taken():
    before = {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 2}}
    changed = {"metadata": {"resourceVersion": "8"}, "spec": {"replicas": 5}}
    with pytest.raises(AssertionError):
        apply(changed, build_scale_down(before, SCALE))


GOOD = json.loads(build_record_text(SCALE))
BROKEN = [
    "", "{", "[]", "7", "null", json.dumps(GOOD | {"version": 2}), json.dumps(GOOD | {"mode": "x"}),
    json.dumps(GOOD | {"replicas": -1}), json.dumps(GOOD | {"replicas": True}),
    json.dumps(GOOD | {"replicas": 2**31}), json.dumps(GOOD | {"holder": 7}),
    json.dumps(GOOD | {"mode": "selector"}),
    json.dumps(GOOD | {"mode": "selector", "selector": {}}),
    json.dumps(GOOD | {"mode": "selector", "selector": {"a": 1}}),
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_what_we_do_not_understand_is_left_to_people(text: str):
    with pytest.raises(ValueError, match=ANNOTATION):
        parse_record({"metadata": {"annotations": {ANNOTATION: text}}})


@given(
    st.one_of(
        st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
    )
)
def test_annotation_of_any_kind(text: str):
    with contextlib.suppress(ValueError):
        parse_record({"metadata": {"annotations": {ANNOTATION: text}}})


def test_nothing_is_written():
    assert parse_record({"metadata": {}}) is None
    assert parse_record({"metadata": {"annotations": None}}) is None
