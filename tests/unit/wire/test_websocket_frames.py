"""A server's WebSocket frames, with examples from RFC 6455 and with what it may not send."""

import struct

import pytest

from ktnet.errors import RemoteProtocolError
from ktnet.wire.websocket import (
    Control,
    FrameReader,
    Opcode,
    Piece,
    build_client_header,
)

KEY = bytes.fromhex("37fa213d")


def read(data, reader=None):
    return list((reader or FrameReader()).feed(memoryview(data)))


def test_a_text_as_in_the_rfc():
    assert read(b"\x81\x05Hello") == [Piece(Opcode.TEXT, 2, 7, True, True)]


def test_a_fragmented_text_as_in_the_rfc():
    pieces = read(b"\x01\x03Hel\x80\x02lo")
    assert pieces == [
        Piece(Opcode.TEXT, 2, 5, True, False),
        Piece(Opcode.TEXT, 7, 9, False, True),
    ]


@pytest.mark.parametrize(
    "header", [b"\x82\x7d", b"\x82\x7e\x01\x00", b"\x82\x7f" + (1 << 16).to_bytes(8, "big")]
)
def test_lengths_in_all_three_forms(header):
    size = {2: 125, 4: 256, 10: 1 << 16}[len(header)]
    assert read(header + bytes(size)) == [
        Piece(Opcode.BINARY, len(header), len(header) + size, True, True)
    ]


def test_a_frame_is_handed_on_as_it_comes():
    reader = FrameReader()
    assert read(b"\x82", reader) == []
    assert read(b"\x7e\x01", reader) == []
    assert read(b"\x00ab", reader) == [Piece(Opcode.BINARY, 1, 3, True, False)]
    assert read(bytes(254), reader) == [Piece(Opcode.BINARY, 0, 254, False, True)]


def test_control_frames_come_between_the_parts_of_a_message_and_are_whole():
    reader = FrameReader()
    assert read(b"\x02\x01a\x89\x05He", reader) == [Piece(Opcode.BINARY, 2, 3, True, False)]
    assert read(b"llo\x80\x01b\x8a\x00", reader) == [
        Control(Opcode.PING, b"Hello"),
        Piece(Opcode.BINARY, 5, 6, False, True),
        Control(Opcode.PONG, b""),
    ]


def test_empty_frames_are_pieces_too():
    assert read(b"\x02\x00\x00\x00\x80\x00") == [
        Piece(Opcode.BINARY, 2, 2, True, False),
        Piece(Opcode.BINARY, 4, 4, False, False),
        Piece(Opcode.BINARY, 6, 6, False, True),
    ]


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0b\xb8", b"\x13\x87"])
def test_a_goodbye(payload):
    frame = bytes((0x88, len(payload))) + payload
    assert read(frame) == [Control(Opcode.CLOSE, payload)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x81" + KEY + b"x",  # masked: only a client's are
        b"\xff\xff",  # and known before the rest of the header is there
        b"\xc2\x01x",  # compressed, which nobody has agreed on
        b"\xa2\x01x",
        b"\x92\x01x",
        b"\x83\x00",  # opcodes that nobody has given a meaning
        b"\x87\x00",
        b"\x8b\x00",
        b"\x8f\x00",
        b"\x80\x01x",  # goes on with nothing
        b"\x02\x01a\x82\x01b",  # begins in the middle of another
        b"\x02\x01a\x81\x01b",
        b"\x09\x00",  # control frames in parts
        b"\x08\x02\x03\xe8",
        b"\x89\x7e\x00\x7e" + bytes(126),  # or too long
        b"\x82\x7e\x00\x7d" + bytes(125),  # lengths in more bytes than need be
        b"\x82\x7f" + (0xFFFF).to_bytes(8, "big"),
        b"\x82\x7f" + (1 << 63).to_bytes(8, "big"),
        b"\x88\x01\x03",  # a goodbye with half a code
        b"\x88\x02\x03\xe7",
        b"\x88\x02\x03\xed",
        b"\x88\x02\x03\xee",
        b"\x88\x02\x03\xf7",
        b"\x88\x02\x0b\xb7",
        b"\x88\x02\x13\x88",
        b"\x88\x03\x03\xe8\xff",
    ],
)
def test_what_a_server_may_not_send(data):
    with pytest.raises(RemoteProtocolError):
        read(data)
    reader = FrameReader()
    with pytest.raises(RemoteProtocolError):  # noqa: PT012 - any of them may be it
        for byte in data:
            read(bytes((byte,)), reader)


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x80"),
        (125, b"\x82\xfd"),
        (126, b"\x82\xfe\x00\x7e"),
        (65535, b"\x82\xfe\xff\xff"),
        (65536, b"\x82\xff" + struct.pack("!Q", 65536)),
    ],
)
def test_headers_of_ours_are_as_short_as_can_be(size, header):
    assert build_client_header(Opcode.BINARY, size, KEY) == header + KEY
