from __future__ import annotations

import pytest

from ktnet.errors import LocalProtocolError, RemoteProtocolError
from ktnet.wire.dnsframe import FrameReader, build_frame


def test_a_frame_is_the_length_and_the_message():
    assert build_frame(b"abc") == b"\0\3abc"
    assert build_frame(b"x" * 65535)[:2] == b"\xff\xff"


@pytest.mark.parametrize("message", [b"", b"x" * 65536])
def test_what_fits_into_no_frame_is_our_own_fault(message):
    with pytest.raises(LocalProtocolError):
        build_frame(message)


def test_frames_come_out_of_any_pieces():
    stream = build_frame(b"one") + build_frame(b"2" * 300) + build_frame(b"three")[:4]
    messages = [b"one", b"2" * 300]
    assert FrameReader().feed(stream) == messages
    reader = FrameReader()
    assert [m for byte in stream for m in reader.feed(bytes([byte]))] == messages
    assert reader.feed(b"ree") == [b"three"]


def test_an_empty_frame_is_their_fault():
    with pytest.raises(RemoteProtocolError):
        FrameReader().feed(build_frame(b"ok") + b"\0\0")
