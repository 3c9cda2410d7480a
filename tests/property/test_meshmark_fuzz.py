"""What a laptop or a router may be told by anybody: it is understood, or the other side's fault."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ktnet.errors import RemoteProtocolError
from ktnet.wire.meshmark import (
    LineReader,
    Registration,
    build_registration,
    parse_registration,
)
from ktnet.wire.meshrecord import ANNOTATION, parse_record

WORDS = st.text(min_size=1, max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=9), each, max_size=4)
    ),
    max_leaves=20,
)
SHAPED = st.fixed_dictionaries(
    {"session": JSON, "key": JSON, "value": JSON, "ports": JSON}, optional={"fail_open": JSON}
)
MESHED = st.fixed_dictionaries(
    {"version": st.just(1), "router": JSON, "selector": JSON, "members": JSON}
)


@given(
    st.binary(max_size=300)
    | JSON.map(lambda each: json.dumps(each).encode())
    | SHAPED.map(lambda each: json.dumps(each).encode())
)
def test_a_registration_is_one_or_refused(line: bytes) -> None:
    try:
        registration = parse_registration(line)
    except RemoteProtocolError:
        return
    assert all(0 < port < 65536 for port in registration.ports)
    assert all(isinstance(each, str) for each in (registration.session, registration.value))


@given(WORDS, WORDS, WORDS, st.lists(st.integers(1, 65535), max_size=9), st.booleans())
def test_what_is_written_is_read(
    session: str, key: str, value: str, ports: list[int], fail_open: bool
) -> None:
    registration = Registration(session, key, value, tuple(ports), fail_open)
    reader, found = LineReader(), []
    for byte in build_registration(registration):
        found += reader.feed(bytes([byte]))
    assert [parse_registration(line) for line in found] == [registration]


@given(st.text(max_size=200) | JSON.map(json.dumps) | MESHED.map(json.dumps))
def test_an_annotation_is_understood_or_left_alone(text: str) -> None:
    try:
        found = parse_record({"metadata": {"annotations": {ANNOTATION: text}}})
    except ValueError:
        return
    assert found is not None
    assert found[1].selector
