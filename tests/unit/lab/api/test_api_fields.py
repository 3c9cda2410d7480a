"""Fields that a kind doesn't have: dropped, and told or refused where that was asked for."""

import pytest
from apilab import build_pod, build_store
from field_table import FILE, build_table, encode

from ktnet.lab.api.body import parse_object
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.fieldvalidation import keep_known
from ktnet.lab.api.query import parse_field_validation
from ktnet.lab.api.resources import RESOURCES

PODS = next(each for each in RESOURCES if each.kind == "Pod")


def test_the_table_is_that_of_the_published_schema():
    assert FILE.read_text() == encode(build_table()), "run tests/unit/lab/api/field_table.py"


def test_every_kind_is_in_the_table():
    assert {each.kind for each in RESOURCES} <= build_table().keys()


@pytest.mark.parametrize(
    ("kind", "given", "kept", "unknown"),
    [
        ("Pod", {"spec": {"containers": [{"name": "m", "imago": "i"}]}},
         {"spec": {"containers": [{"name": "m"}]}}, "spec.containers[0].imago"),
        ("ConfigMap", {"data": {"any": "1"}, "metadata": {"labels": {"any": "1"}, "lables": {}}},
         {"data": {"any": "1"}, "metadata": {"labels": {"any": "1"}}}, "metadata.lables"),
        ("Pod", {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}, "max": 1}}]}},
         {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}},
         "spec.containers[0].resources.max"),
        ("Scale", {"spec": {"replicas": 1, "paused": True}}, {"spec": {"replicas": 1}},
         "spec.paused"),
    ],
)  # fmt: skip
def test_unknown_fields_are_dropped_and_named(kind, given, kept, unknown):
    assert keep_known(kind, given) == (kept, [f'unknown field "{unknown}"'])


def test_a_schema_in_a_definition_is_followed_through_its_maps():
    schema = {"properties": {"spec": {"properties": {"weight": {"type": "integer", "kynd": 1}}}}}
    given = {"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}}
    _, complaints = keep_known("CustomResourceDefinition", given)
    where = "spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.weight.kynd"
    assert complaints == [f'unknown field "{where}"']


def test_complaints_come_in_the_order_of_the_document_and_the_last_member_counts():
    body = b'{"spec":{"x":1,"nodeName":"a","nodeName":"b"},"y":2}'
    obj, warnings = parse_object(PODS, "application/json", body, directive="Warn")
    assert obj == {"spec": {"nodeName": "b"}}
    told = ['unknown field "spec.x"', 'duplicate field "spec.nodeName"', 'unknown field "y"']
    assert warnings == told
    assert parse_object(PODS, "application/json", body, directive="Ignore") == (obj, [])


def test_an_unknown_directive_is_refused():
    with pytest.raises(ApiError, match="fieldValidation: Unsupported value"):
        parse_field_validation({"fieldValidation": "strict"}, "CreateOptions")


def test_what_a_store_makes_of_a_pod_has_no_field_that_pods_lack():
    pod = build_store().create("pods", "demo", build_pod("a"))
    assert keep_known("Pod", pod) == (pod, [])
