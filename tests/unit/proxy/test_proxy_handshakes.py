"""SOCKS5 and HTTP proxying by the words of their RFCs, without any I/O."""

import base64

import pytest

from ktnet.proxy.handshake import Credentials, Refused, Request
from ktnet.proxy.http import HttpProxy
from ktnet.proxy.socks5 import Socks5
from ktnet.wire.flow import OpenFailure

ALICE = Credentials("alice", "secret")
GREETING = b"\x05\x01\x00"
NAME = b"\x05\x01\x00\x03\x0btomcat.demo\x00\x50"


@pytest.mark.parametrize(
    ("rule", "credentials", "sent", "answered", "request_"),
    [
        ("1928 3: NO AUTHENTICATION chosen", None, b"\x05\x02\x02\x00", b"\x05\x00", None),
        ("1928 3: USERNAME/PASSWORD chosen", ALICE, b"\x05\x02\x00\x02", b"\x05\x02", None),
        (
            "1928 4, 5: DOMAINNAME",
            None,
            GREETING + NAME,
            b"\x05\x00",
            Request("tomcat.demo", 80),
        ),
        (
            "1928 5: IP V4",
            None,
            GREETING + b"\x05\x01\x00\x01\x0a\x60\x00\x14\x1f\x90",
            b"\x05\x00",
            Request("10.96.0.20", 8080),
        ),
        (
            "1928 5: IP V6",
            None,
            GREETING + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50",
            b"\x05\x00",
            Request("::1", 80),
        ),
        (
            "1929 2: success",
            ALICE,
            b"\x05\x01\x02\x01\x05alice\x06secret" + NAME,
            b"\x05\x02\x01\x00",
            Request("tomcat.demo", 80),
        ),
        (
            "data right behind the request",
            None,
            GREETING + NAME + b"hello",
            b"\x05\x00",
            Request("tomcat.demo", 80, b"hello"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("step", [1, 1000])
def test_socks5_accepts(rule, credentials, sent, answered, request_, step):
    socks = Socks5(credentials)
    rest = b""
    answer = b""
    for start in range(0, len(sent), step):
        if socks.request is not None:
            rest += sent[start : start + step]  # by then it is the target's
        else:
            answer += socks.feed(sent[start : start + step])
    assert answer == answered
    if request_ is not None:
        assert socks.request is not None
        assert (socks.request.host, socks.request.port) == (request_.host, request_.port)
        assert socks.request.first + rest == request_.first


@pytest.mark.parametrize(
    ("rule", "credentials", "sent", "answered"),
    [
        ("1928 3: no method in common", None, b"\x05\x01\x02", b"\x05\xff"),
        ("1928 3: no password offered", ALICE, GREETING, b"\x05\xff"),
        ("1928 3: no methods at all", None, b"\x05\x00", b"\x05\xff"),
        ("1929 2: wrong password", ALICE, b"\x05\x01\x02\x01\x05alice\x05wrong", b"\x01\x01"),
        ("1929 2: another version", ALICE, b"\x05\x01\x02\x05\x05alice\x05wrong", b"\x01\x01"),
        ("1928 6: BIND is X'07'", None, GREETING + b"\x05\x02" + NAME[2:], b"\x05\x07"),
        ("1928 6: UDP ASSOCIATE is X'07'", None, GREETING + b"\x05\x03" + NAME[2:], b"\x05\x07"),
        ("1928 6: unknown ATYP is X'08'", None, GREETING + b"\x05\x01\x00\x02\x01", b"\x05\x08"),
        ("empty name", None, GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x04"),
        ("name with NUL", None, GREETING + b"\x05\x01\x00\x03\x02a\x00\x00\x50", b"\x05\x04"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_socks5_refuses(rule, credentials, sent, answered):
    with pytest.raises(Refused) as refused:
        Socks5(credentials).feed(sent)
    assert refused.value.answer[: len(answered)] == answered


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (OpenFailure.REFUSED, 5),
        (OpenFailure.HOST_UNREACHABLE, 4),
        (OpenFailure.NETWORK_UNREACHABLE, 3),
        (OpenFailure.PROHIBITED, 2),
        (OpenFailure.TIMED_OUT, 6),
        (OpenFailure.UNKNOWN_NAME, 4),
        (OpenFailure.SHORTAGE, 1),
        (OpenFailure.TUNNEL_DOWN, 1),
    ],
)
def test_socks5_says_why(failure: OpenFailure, code: int):
    assert Socks5(None).refuse(failure) == bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


def test_http_connect():
    proxy = HttpProxy(None)
    assert proxy.feed(b"CONNECT tomcat.demo:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03") == b""
    assert proxy.request == Request("tomcat.demo", 443, b"\x16\x03")
    assert proxy.accept().startswith(b"HTTP/1.1 200 ")


def test_http_connect_to_an_ipv6_address():
    proxy = HttpProxy(None)
    proxy.feed(b"CONNECT [fd00::1]:443 HTTP/1.1\r\n\r\n")
    assert proxy.request == Request("fd00::1", 443)


def test_http_absolute_form_becomes_origin_form():
    proxy = HttpProxy(None)
    proxy.feed(
        b"POST http://tomcat.demo:8080/a?b=c HTTP/1.1\r\nHost: tomcat.demo:8080\r\n"
        b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n"
        b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
    )
    assert proxy.request == Request(
        "tomcat.demo",
        8080,
        b"POST /a?b=c HTTP/1.1\r\nHost: tomcat.demo:8080\r\nContent-Length: 2\r\n"
        b"Connection: close\r\n\r\nhi",
    )
    assert proxy.accept() == b""


def test_http_password():
    right = base64.b64encode(b"alice:secret")
    proxy = HttpProxy(ALICE)
    proxy.feed(b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic " + right + b"\r\n\r\n")
    assert proxy.request == Request("a", 1)
    for given in (b"", b"Proxy-Authorization: Basic YTpi\r\n", b"Proxy-Authorization: Basic %\r\n"):
        with pytest.raises(Refused) as refused:
            HttpProxy(ALICE).feed(b"CONNECT a:1 HTTP/1.1\r\n" + given + b"\r\n")
        assert refused.value.answer.startswith(b"HTTP/1.1 407 ")
        assert b"Proxy-Authenticate: Basic" in refused.value.answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n",  # a web page's request
        b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a HTTP/1.1\r\n\r\n",
        b"CONNECT a:0 HTTP/1.1\r\n\r\n",
        b"CONNECT a:65536 HTTP/1.1\r\n\r\n",
        b"CONNECT u@a:1 HTTP/1.1\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET http://a/ HTTP/1.1\nHost: a\n\n",
    ],
)
def test_http_refuses(head: bytes):
    with pytest.raises(Refused) as refused:
        HttpProxy(None).feed(head)
    assert refused.value.answer.startswith(b"HTTP/1.1 400 ")
