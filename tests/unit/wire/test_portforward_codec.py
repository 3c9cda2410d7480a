"""The channel protocol of a port-forward, with messages as a real API server sends them."""

import pytest

from ktnet.wire.portforward import ClientDecoder, Closed, Failed, Garbled, Pinged

DATA_PORT_7001 = bytes.fromhex("8203 00591b")
ERROR_PORT_7001 = bytes.fromhex("8203 01591b")
GOODBYE = b"\x88\x02\x03\xe8"


def frame(message: bytes) -> bytes:
    assert len(message) < 1 << 16
    if len(message) < 126:
        return bytes((0x82, len(message))) + message
    return b"\x82\x7e" + len(message).to_bytes(2, "big") + message


def receive(decoder: ClientDecoder, *frames: bytes) -> tuple[bytes, list]:
    data = bytearray(b"".join(frames))
    size, events = decoder.receive(memoryview(data))
    return bytes(data[:size]), events


def open_decoder() -> ClientDecoder:
    decoder = ClientDecoder(7001)
    assert receive(decoder, DATA_PORT_7001, ERROR_PORT_7001) == (b"", [])
    return decoder


def test_is_open_once_the_port_was_named_on_both_channels():
    decoder = ClientDecoder(7001)
    receive(decoder, DATA_PORT_7001)
    assert not decoder.opened
    receive(decoder, ERROR_PORT_7001)
    assert decoder.opened


def test_reads_what_a_real_server_sends():
    decoder = open_decoder()
    assert receive(decoder, bytes.fromhex("8205 006162630a")) == (b"abc\n", [])
    refused = b"\x01error forwarding port 7999 to pod 8604: connection refused\n"
    assert receive(decoder, frame(refused), GOODBYE) == (
        b"",
        [Failed("error forwarding port 7999 to pod 8604: connection refused")],
    )


def test_the_bytes_of_many_frames_are_moved_together():
    decoder = ClientDecoder(7001)
    whole = [DATA_PORT_7001, ERROR_PORT_7001, frame(b"\x00" + b"a" * 32768), frame(b"\x00b")]
    assert receive(decoder, *whole, b"\x89\x01?", frame(b"\x00c"), GOODBYE, b"rubbish") == (
        b"a" * 32768 + b"bc",
        [Pinged(b"?"), Closed()],
    )


def test_a_message_in_several_frames_has_one_channel():
    decoder = open_decoder()
    assert receive(decoder, b"\x02\x00", b"\x00\x03\x00ab", b"\x80\x02\x01c") == (b"ab\x01c", [])
    assert receive(decoder, b"\x02\x03\x01no", b"\x80\x02pe") == (b"", [Failed("nope")])


def test_an_empty_data_message_means_nothing():
    assert receive(open_decoder(), frame(b"\x00")) == (b"", [])


def test_an_empty_error_means_nothing():
    assert receive(open_decoder(), frame(b"\x01"), frame(b"\x00x")) == (b"x", [])


def test_an_error_is_one_printable_line_and_not_kept_for_ever():
    decoder = open_decoder()
    assert receive(decoder, b"\x02\x11\x01one\ntwo\x1b[31m\xff...") == (b"", [])
    for _ in range(100):
        assert receive(decoder, b"\x00\x7e\x0f\xff" + b"x" * 4095) == (b"", [])
    _, (event,) = receive(decoder, b"\x80\x00")
    assert isinstance(event, Failed)
    assert event.reason.startswith("one two [31m")
    assert event.reason.isprintable()
    assert len(event.reason) <= 4096


@pytest.mark.parametrize(
    "frames",
    [
        [frame(b"")],
        [b"\x02\x00\x80\x00"],
        [frame(b"\x00\x59")],
        [frame(b"\x00\x59\x1b\x00")],
        [frame(b"\x00\x5a\x1b")],
        [frame(b"\x01\x00\x00")],
        [frame(b"\x02\x59\x1b")],
        [DATA_PORT_7001, frame(b"\x00early")],
        [DATA_PORT_7001, ERROR_PORT_7001, frame(b"")],
        [DATA_PORT_7001, ERROR_PORT_7001, frame(b"\x03x")],
        [DATA_PORT_7001, ERROR_PORT_7001, frame(b"\xff\x00")],
        [DATA_PORT_7001, ERROR_PORT_7001, b"\x81\x01\x00"],
        [DATA_PORT_7001, ERROR_PORT_7001, b"\x82\x82abcdef"],
    ],
)
def test_anything_else_is_the_servers_fault(frames):
    data, events = receive(ClientDecoder(7001), *frames)
    assert data == b""
    assert isinstance(events[-1], Garbled)


def test_what_came_before_the_fault_came():
    data, (event,) = receive(open_decoder(), frame(b"\x00last"), b"\xff\xff", frame(b"\x00x"))
    assert data == b"last"
    assert isinstance(event, Garbled)
