"""Refusals become errors with the right exit code, words and hints."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktnet.cluster.server.answers import Expired, Refused, build_error, parse_status
from ktnet.errors import ClusterUnreachable, Conflict, Forbidden, KtnetError, NotFound

RBAC = 'pods is forbidden: User "dev" cannot create resource "pods" in API group ""'
QUOTA = (
    'pods "x" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0'
)


def error_for(code, verb="create", **status):
    return build_error(parse_status(code, json.dumps(status).encode()), verb, "pods", "demo")


@pytest.mark.parametrize(
    ("code", "message", "kind", "exit_code"),
    [
        (401, "Unauthorized", ClusterUnreachable, 4),
        (403, RBAC, Forbidden, 5),
        (403, "", Forbidden, 5),
        (403, 'pods "fwd" is forbidden: ', Forbidden, 5),
        (403, QUOTA, Refused, 4),
        (404, 'pods "x" not found', NotFound, 11),
        (409, "the object has been modified", Conflict, 10),
        (410, "too old resource version", Expired, 1),
        (422, "is invalid", Refused, 4),
        (503, "apiserver is shutting down", ClusterUnreachable, 4),
    ],
)
def test_codes_have_their_errors(code, message, kind, exit_code):
    error = error_for(code, message=message)
    assert type(error) is kind
    assert error.exit_code == exit_code


def test_forbidden_names_verb_resource_and_namespace():
    error = error_for(403, message=RBAC)
    assert "not allowed to create pods in namespace demo" in error.message
    assert "dev" in error.message
    assert (
        "in the whole cluster" in build_error(parse_status(403, b""), "list", "nodes", None).message
    )


def test_only_a_missing_right_keeps_from_reading():
    assert isinstance(error_for(403, verb="list", message="says the proxy"), Forbidden)


def test_plain_text_is_taken_as_the_message():
    assert parse_status(500, b'pod not found ("x_y")\n').message == 'pod not found ("x_y")'


@given(st.integers(400, 599), st.binary(max_size=60) | st.just(b'{"code": "x", "reason": []}'))
def test_any_refusal_is_an_error_of_ours(code, body):
    error = build_error(parse_status(code, body), "get", "pods", "demo")
    assert isinstance(error, KtnetError)
    assert error.message.isprintable()
