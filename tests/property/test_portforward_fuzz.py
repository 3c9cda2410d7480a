"""Whatever a server sends on a port-forward: an event, or the server's fault; and the frames that
a library writes are read as what it wrote, however they are cut."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from ktnet.errors import RemoteProtocolError
from ktnet.wire.portforward import ClientDecoder, Closed, Failed, Garbled, Pinged
from ktnet.wire.websocket import Control, FrameReader, Opcode, Piece

PORTS = st.integers(1, 65535)


def frame(first, payload):
    """Section 5.2 of RFC 6455, once more."""
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 1 << 16:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def announce(port):
    return b"".join(frame(0x82, bytes((n,)) + port.to_bytes(2, "little")) for n in (0, 1))


def cut(data, cuts):
    """`data` in pieces of these lengths, again and again."""
    at = 0
    while at < len(data):
        for size in cuts:
            yield data[at : at + size]
            at += size


CUTS = st.lists(st.integers(1, 50), min_size=1, max_size=5)
CONTROLS = st.builds(frame, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125))


@st.composite
def messages(draw):
    """A message of data in one frame or several, with control frames between them; its bytes."""
    payload = draw(st.binary(max_size=300))
    parts = [b"\x00" + payload]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(parts[-1])))
        parts[-1:] = [parts[-1][:at], parts[-1][at:]]
    frames = []
    for number, part in enumerate(parts):
        first = (0x02 if number == 0 else 0) | (0x80 if number == len(parts) - 1 else 0)
        frames += [frame(first, part), *draw(st.lists(CONTROLS, max_size=2))]
    return b"".join(frames), payload


@given(port=PORTS, sent=st.lists(messages(), max_size=6), cuts=CUTS)
def test_data_comes_out_as_it_went_in_however_it_is_cut(port, sent, cuts):
    decoder, received = ClientDecoder(port), b""
    stream = announce(port) + b"".join(frames for frames, _ in sent) + frame(0x88, b"\x03\xe8")
    events = []
    for piece in cut(stream, cuts):
        buffer = bytearray(piece)
        size, found = decoder.receive(memoryview(buffer))
        received += buffer[:size]
        events += found
    assert received == b"".join(payload for _, payload in sent)
    assert events.pop() == Closed()
    assert all(isinstance(event, Pinged) for event in events)


FRAGMENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(frame, st.integers(0, 255), st.binary(max_size=140)),
    st.builds(
        lambda first, channel, rest: frame(first, bytes((channel,)) + rest),
        st.sampled_from([0x82, 0x02, 0x80, 0x00]),
        st.integers(0, 2),
        st.binary(max_size=40),
    ),
)


@given(port=PORTS, opened=st.booleans(), parts=st.lists(FRAGMENTS, max_size=8), cuts=CUTS)
def test_garbage_is_an_event_or_the_servers_fault(port, opened, parts, cuts):
    stream = (announce(port) if opened else b"") + b"".join(parts)
    whole, pieces = ClientDecoder(port), ClientDecoder(port)
    buffer = bytearray(stream)
    size, events = whole.receive(memoryview(buffer))
    assert 0 <= size <= len(stream)
    last = [event for event in events if not isinstance(event, Pinged)]
    assert last in ([], events[-1:])
    assert all(isinstance(event, Closed | Failed | Garbled) for event in last)
    # And it is the same whichever way it is cut.
    received, found = b"", []
    for piece in cut(stream, cuts):
        part = bytearray(piece)
        count, more = pieces.receive(memoryview(part))
        received += part[:count]
        found += more
    assert (received, found) == (bytes(buffer[:size]), events)


@given(data=st.binary(max_size=200), cuts=CUTS)
def test_frames_are_found_or_refused(data, cuts):
    reader = FrameReader()
    try:
        for piece in cut(data, cuts):
            at = 0
            for found in reader.feed(memoryview(piece)):
                if isinstance(found, Control):
                    assert found.kind in {Opcode.CLOSE, Opcode.PING, Opcode.PONG}
                    assert len(found.payload) <= 125
                else:
                    assert isinstance(found, Piece)
                    assert found.kind in {Opcode.TEXT, Opcode.BINARY}
                    assert at <= found.begin <= found.end <= len(piece)
                    at = found.end
    except RemoteProtocolError:
        return
