"""Whatever a client sends to the local proxy: a request, a refusal, or more is waited for."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.proxy.handshake import Credentials, Refused
from ktnet.proxy.http import HttpProxy
from ktnet.proxy.socks5 import Socks5

WORDS = (
    *(b"\x05", b"\x01", b"\x00", b"\x02", b"\x03", b"\x04", b"\x06", b"alice", b"secret", b"a:1"),
    *(b"GET ", b"CONNECT ", b"http://", b"[::1]", b" HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n"),
    *(b"Proxy-Authorization: Basic ", b"YWxpY2U6c2VjcmV0", b"@", b"/", b"\n", b"%", b":99999"),
)
PARTS = st.lists(st.sampled_from(WORDS), max_size=16).map(b"".join)


@given(
    st.sampled_from([Socks5, HttpProxy]),
    st.sampled_from([None, Credentials("alice", "secret")]),
    st.one_of(PARTS, st.binary(max_size=300)),
    st.sampled_from([1, 5, 1000]),
)
@settings(max_examples=1000, deadline=None)
def test_handshake_of_any_bytes(kind, credentials, data: bytes, step: int):
    handshake = kind(credentials)
    with contextlib.suppress(Refused):
        for start in range(0, len(data), step):
            handshake.feed(data[start : start + step])
            if handshake.request is not None:
                assert 0 <= handshake.request.port <= 0xFFFF
                assert handshake.request.host.isprintable()
                break
