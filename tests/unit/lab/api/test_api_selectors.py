"""Label and field selectors."""

import pytest

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.selectors import parse_field_selector, parse_label_selector


def labelled(**labels):
    return {"metadata": {"name": "x", "labels": labels}}


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("", {}, None),
        ("a=1", {"a": "1"}, {"a": "2"}),
        ("a==1", {"a": "1"}, {}),
        ("a!=1", {}, {"a": "1"}),
        ("a", {"a": ""}, {"b": "1"}),
        ("!a", {}, {"a": "1"}),
        ("a in (1,2)", {"a": "2"}, {"a": "3"}),
        ("a notin (1, 2)", {"a": "3"}, {"a": "1"}),
        ("a in (1,2),b!=x,!zz", {"a": "1"}, {"a": "1", "b": "x"}),
        ("n>5", {"n": "6"}, {"n": "5"}),
        ("n<5", {"n": "4"}, {"n": "no number"}),
        ("a=", {"a": ""}, {"a": "1"}),
        ("example.com/a-b.c_d=E", {"example.com/a-b.c_d": "E"}, {}),
    ],
)
def test_label_selectors_select(text, yes, no):
    selects = parse_label_selector(text)
    assert selects(labelled(**yes))
    assert no is None or not selects(labelled(**no))


def test_a_broken_label_selector_is_refused_in_the_words_of_a_real_api_server():
    with pytest.raises(ApiError) as refused:
        parse_label_selector("a in (")
    assert refused.value.message == (
        "unable to parse requirement: found '', expected: ',', ')' or identifier"
    )


@pytest.mark.parametrize("text", ["=a", "a=1,", "a in 1", "a b", "a>x", ",", "a in (1", "!"])
def test_broken_label_selectors_are_refused(text):
    with pytest.raises(ApiError) as refused:
        parse_label_selector(text)
    assert refused.value.status == 400


def test_field_selectors_select_what_the_kind_offers():
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"nodeName": "node"},
        "status": {"phase": "Running"},
    }
    for text in (
        "metadata.name=p",
        "metadata.namespace==n,spec.nodeName=node",
        "status.phase!=Pending",
        "status.podIP=",
        "",
    ):
        assert parse_field_selector("pods", text)(pod), text
    for text in ("metadata.name=q", "status.phase=Pending", "status.phase!=Running"):
        assert not parse_field_selector("pods", text)(pod), text


def test_values_of_field_selectors_may_be_escaped():
    obj = {"metadata": {"name": "a,b=c"}}
    assert parse_field_selector("configmaps", r"metadata.name=a\,b\=c")(obj)


@pytest.mark.parametrize(("plural", "text"), [("pods", "spec.foo=1"), ("leases", "status.phase=x")])
def test_other_fields_are_refused(plural, text):
    with pytest.raises(ApiError) as refused:
        parse_field_selector(plural, text)
    assert refused.value.message == f"field label not supported: {text.partition('=')[0]}"


def test_what_is_no_field_selector_is_refused():
    with pytest.raises(ApiError) as refused:
        parse_field_selector("pods", "metadata.name")
    assert refused.value.status == 400
