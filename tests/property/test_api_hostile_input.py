"""Whatever a client sends to the API server is parsed or refused, never more."""

import copy
import json
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.lab.api.body import parse_delete_options, parse_json
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.patch import json_patch, merge_patch
from ktnet.lab.api.query import parse_continue, parse_list_options
from ktnet.lab.api.resources import RESOURCES
from ktnet.lab.api.store import Store
from ktnet.lab.api.strategic import strategic_patch
from ktnet.lab.api.target import parse_target
from ktnet.lab.api.websocket import FrameReader, Opcode, ProtocolViolation, build_header

KEYS = (
    *("metadata", "name", "labels", "data", "type", "a", "replicas", "selector", "template"),
    *("spec", "containers", "ports", "port", "image", "env", "clusterIP", "endpoints"),
    *("status", "conditions"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
STORED = [each.plural for each in RESOURCES if each.stored]
NAMESPACED = {each.plural: each.namespaced for each in RESOURCES}


def refused_or_done(call, *args, **kwargs):
    """What the call gives, or None where it was refused as a client's fault."""
    try:
        return call(*args, **kwargs)
    except ApiError as error:
        refusal = error
    assert refusal.status < 501
    assert refusal.body()["kind"] == "Status"
    return None


def build_full_store():
    store = Store()
    store.create("namespaces", None, {"metadata": {"name": "n"}})
    store.create("serviceaccounts", "n", {"metadata": {"name": "default"}})
    return store


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(STORED), st.dictionaries(st.text(max_size=3), JSON, max_size=2), JSON, JSON)
def test_no_object_breaks_the_store(plural, extra, spec, meta):
    store = build_full_store()
    namespace = "n" if NAMESPACED[plural] else None
    obj = {**extra, "spec": spec, "metadata": meta if meta is not None else {"name": "x"}}
    refused_or_done(store.create, plural, namespace, obj)
    refused_or_done(store.create, plural, namespace, {**obj, "metadata": {"name": "x"}})
    refused_or_done(store.update, plural, namespace, "x", obj)


BASES = {
    "pods": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
    "services": {"spec": {"ports": [{"port": 1}]}},
    "deployments": {
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        }
    },
    "leases": {},
    "endpointslices": {"addressType": "IPv4"},
}


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(BASES)),
    st.sampled_from(["merge", "strategic", "json"]),
    st.sampled_from([None, "status", "scale"]),
    JSON,
)
def test_no_patch_breaks_the_store(plural, kind, part, patch):
    store = build_full_store()
    store.create(plural, "n", {**BASES[plural], "metadata": {"name": "x"}})
    if part == "scale" and plural != "deployments":
        part = None
    before = copy.deepcopy(store.get(plural, "n", "x"))
    kept = store.get(plural, "n", "x")
    refused_or_done(store.patch, plural, "n", "x", patch, kind=kind, subresource=part)
    assert kept == before
    assert store.list(plural)


@settings(max_examples=100, deadline=None)
@given(JSON, JSON)
def test_patches_never_change_their_target(target, patch):
    before = copy.deepcopy(target)
    for apply in (merge_patch, strategic_patch, json_patch):
        refused_or_done(apply, target, patch)
        assert target == before


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["pods", "services", "events"]),
    st.text("ab=!,()<> in/\\.1", max_size=20),
    st.text(max_size=20),
)
def test_any_query_is_read_or_refused(plural, selector, other):
    for key in ("labelSelector", "fieldSelector"):
        options = refused_or_done(parse_list_options, plural, {key: selector, "limit": other})
        if options is not None:
            options.selects({"metadata": {"name": "x"}})
    refused_or_done(parse_continue, other)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["GET", "POST", "DELETE", "BREW"]), st.booleans())
def test_any_path_means_something_or_nothing(path, method, watch):
    for prefix in ("", "/api/v1/", "/apis/apps/v1/namespaces/", "/api/v1/watch/"):
        target = parse_target(method, prefix + path, {"watch": str(watch), "fieldSelector": path})
        assert target.attributes().verb


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body):
    refused_or_done(parse_json, "Pod", body)
    refused_or_done(parse_delete_options, body, {})


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_delete_options_are_read_or_refused(options):
    for body in (options, {"preconditions": options, "gracePeriodSeconds": options}):
        refused_or_done(parse_delete_options, json.dumps(body).encode(), {})


def mask_frame(opcode, payload, *, final=True):
    """A client's frame, with the simplest unmasking there is."""
    header = bytearray(build_header(opcode, len(payload)))
    header[0] &= 0xFF if final else 0x7F
    header[1] |= 0x80
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes(header) + mask + masked


def gather(pieces):
    """Messages out of pieces."""
    messages = []
    for piece in pieces:
        if piece.first:
            messages.append((piece.opcode, bytearray()))
        messages[-1][1].extend(piece.data)
    return [(opcode, bytes(data)) for opcode, data in messages]


MESSAGES = st.lists(
    st.tuples(st.sampled_from([Opcode.BINARY, Opcode.TEXT]), st.binary(max_size=300))
    | st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_frames_are_read_alike_whole_or_in_pieces(messages, cuts):
    stream = b"".join(mask_frame(opcode, payload) for opcode, payload in messages)
    assert gather(FrameReader().feed(stream)) == messages
    reader, pieces, rest = FrameReader(), [], stream
    while rest:
        for cut in cuts:
            pieces += reader.feed(rest[:cut])
            rest = rest[cut:]
    assert gather(pieces) == messages


def test_long_frames_are_read():
    payload = os.urandom(70_000)
    assert gather(FrameReader().feed(mask_frame(Opcode.BINARY, payload))) == [
        (Opcode.BINARY, payload)
    ]


def test_each_fragment_is_a_message_of_its_own():
    stream = mask_frame(Opcode.BINARY, b"\0frag", final=False) + mask_frame(
        Opcode.CONTINUATION, b"mented"
    )
    assert gather(FrameReader().feed(stream)) == [
        (Opcode.BINARY, b"\0frag"),
        (Opcode.CONTINUATION, b"mented"),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\x01x",
        b"\xc2\x81mask",
        b"\x83\x81mask",
        b"\x09\x81mask",
        b"\x89\xfe\x01\x00mask",
        b"\x82\xff" + struct.pack("!Q", 1 << 63) + b"mask",
    ],
)
def test_what_rfc_6455_forbids_is_refused(frame):
    with pytest.raises(ProtocolViolation):
        FrameReader().feed(frame)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_frames_or_a_violation(data):
    def read(*parts):
        reader, pieces = FrameReader(), []
        try:
            for part in parts:
                pieces += reader.feed(part)
        except ProtocolViolation:
            return None
        return gather(pieces)

    whole = read(data)
    assert read(*(data[i : i + 1] for i in range(len(data)))) == whole
