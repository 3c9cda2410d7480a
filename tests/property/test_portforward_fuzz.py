"""Whatever a server sends on a port-forward: an event, or the server's fault."""

from hypothesis import given
from hypothesis import strategies as st

from ktnet.errors import RemoteProtocolError
from ktnet.wire.portforward import DATA_PREFIX, ClientDecoder, Data

PORTS = st.integers(1, 65535)


def announce(decoder, port):
    for channel in b"\x00", b"\x01":
        decoder.receive_message(channel + port.to_bytes(2, "little"))


@given(port=PORTS, opened=st.booleans(), messages=st.lists(st.binary(max_size=64), max_size=8))
def test_garbage_is_an_event_or_the_servers_fault(port, opened, messages):
    decoder = ClientDecoder(port)
    if opened:
        announce(decoder, port)
    for message in messages:
        try:
            decoder.receive_message(message)
        except RemoteProtocolError:
            return


@given(port=PORTS, data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_data_comes_out_as_it_went_in_however_it_is_cut(port, data, cuts):
    decoder = ClientDecoder(port)
    announce(decoder, port)
    received, sent, at = b"", b"", 0
    for cut in cuts:
        piece = data[at : at + cut]
        at += cut
        sent += piece
        event = decoder.receive_message(DATA_PREFIX + piece)
        if event is not None:
            assert isinstance(event, Data)
            received += event.payload
    assert received == sent
