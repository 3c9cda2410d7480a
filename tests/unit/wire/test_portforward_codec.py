"""The channel protocol of a port-forward, with messages as a real API server sends them."""

import pytest

from ktnet.errors import RemoteProtocolError
from ktnet.wire.portforward import ClientDecoder, Data, Failed, Opened

DATA_PORT_7001 = bytes.fromhex("00591b")
ERROR_PORT_7001 = bytes.fromhex("01591b")


def open_decoder() -> ClientDecoder:
    decoder = ClientDecoder(7001)
    decoder.receive_message(DATA_PORT_7001)
    decoder.receive_message(ERROR_PORT_7001)
    return decoder


def test_is_open_once_the_port_was_named_on_both_channels():
    decoder = ClientDecoder(7001)
    assert decoder.receive_message(DATA_PORT_7001) is None
    assert not decoder.opened
    assert decoder.receive_message(ERROR_PORT_7001) == Opened(7001)
    assert decoder.opened


def test_reads_what_a_real_server_sends():
    decoder = open_decoder()
    assert decoder.receive_message(bytes.fromhex("006162630a")) == Data(memoryview(b"abc\n"))
    refused = b"\x01error forwarding port 7999 to pod 8604: connection refused\n"
    assert decoder.receive_message(refused) == Failed(
        "error forwarding port 7999 to pod 8604: connection refused"
    )


def test_an_empty_data_message_means_nothing():
    assert open_decoder().receive_message(b"\x00") is None


def test_an_error_is_one_printable_line():
    event = open_decoder().receive_message(b"\x01one\ntwo\x1b[31m\xff" + b"x" * 10_000)
    assert isinstance(event, Failed)
    assert event.reason.startswith("one two [31m")
    assert event.reason.isprintable()
    assert len(event.reason) <= 4096


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"\x00\x59"],
        [b"\x00\x59\x1b\x00"],
        [b"\x00\x5a\x1b"],
        [b"\x01\x00\x00"],
        [b"\x02\x59\x1b"],
        [DATA_PORT_7001, b"\x00early"],
        [DATA_PORT_7001, ERROR_PORT_7001, b""],
        [DATA_PORT_7001, ERROR_PORT_7001, b"\x03x"],
        [DATA_PORT_7001, ERROR_PORT_7001, b"\xff\x00"],
    ],
)
def test_anything_else_is_the_servers_fault(messages):
    decoder = ClientDecoder(7001)
    with pytest.raises(RemoteProtocolError):  # noqa: PT012 - any of them may be it
        for message in messages:
            decoder.receive_message(message)


def test_text_is_the_servers_fault():
    with pytest.raises(RemoteProtocolError):
        open_decoder().receive_text()
