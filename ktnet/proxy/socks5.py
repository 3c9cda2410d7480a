"""SOCKS5, the server's side: CONNECT, without or with user and password. Pure.

RFC 1928, RFC 1929. BIND and UDP ASSOCIATE are refused as the RFC has it: the tunnel carries TCP.
"""

from __future__ import annotations

import ipaddress

from ktnet.proxy.handshake import Credentials, Refused, Request
from ktnet.wire.flow import OpenFailure

VERSION = 5
NO_AUTHENTICATION = 0
USERNAME_PASSWORD = 2
NO_ACCEPTABLE_METHODS = 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4

SUCCEEDED = 0
GENERAL_FAILURE = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
HOST_UNREACHABLE = 4
CONNECTION_REFUSED = 5
TTL_EXPIRED = 6
COMMAND_NOT_SUPPORTED = 7
ADDRESS_TYPE_NOT_SUPPORTED = 8

_REPLIES = {
    OpenFailure.REFUSED: CONNECTION_REFUSED,
    OpenFailure.HOST_UNREACHABLE: HOST_UNREACHABLE,
    OpenFailure.NETWORK_UNREACHABLE: NETWORK_UNREACHABLE,
    OpenFailure.TIMED_OUT: TTL_EXPIRED,  # what OpenSSH and Tor answer where time ran out
    OpenFailure.PROHIBITED: NOT_ALLOWED,
    OpenFailure.UNKNOWN_NAME: HOST_UNREACHABLE,
}


class Socks5:
    """One client's handshake (a `ktnet.proxy.handshake.Handshake`)."""

    def __init__(self, credentials: Credentials | None) -> None:
        self.request: Request | None = None
        self._credentials = credentials
        self._buffer = b""
        self._step = self._take_greeting

    def feed(self, data: bytes) -> bytes:
        """See Handshake."""
        self._buffer += data
        answers = b""
        while self.request is None:
            answer = self._step()
            if answer is None:
                break
            answers += answer
        return answers

    def accept(self) -> bytes:
        """See Handshake."""
        return build_reply(SUCCEEDED)

    def refuse(self, failure: OpenFailure) -> bytes:
        """See Handshake."""
        return build_reply(_REPLIES.get(failure, GENERAL_FAILURE))

    # -- RFC 1928 section 3 ---------------------------------------------------------------------

    def _take_greeting(self) -> bytes | None:
        if self._buffer[:1] not in (b"", b"\x05"):
            raise Refused("not SOCKS5", b"")
        if len(self._buffer) < 2 or len(self._buffer) < 2 + self._buffer[1]:
            return None
        methods = self._take(2 + self._buffer[1])[2:]
        wanted = NO_AUTHENTICATION if self._credentials is None else USERNAME_PASSWORD
        if wanted not in methods:
            raise Refused("no method in common", bytes([VERSION, NO_ACCEPTABLE_METHODS]))
        self._step = self._take_request if self._credentials is None else self._take_password
        return bytes([VERSION, wanted])

    # -- RFC 1929 section 2 ---------------------------------------------------------------------

    def _take_password(self) -> bytes | None:
        data = self._buffer
        if data[:1] not in (b"", b"\x01"):
            raise Refused("another version of authentication", b"\x01\x01")
        if len(data) < 2 or len(data) < 3 + data[1]:
            return None
        total = 3 + data[1] + data[2 + data[1]]
        if len(data) < total:
            return None
        self._take(total)
        user = data[2 : 2 + data[1]]
        password = data[3 + data[1] : total]
        if self._credentials is None or not self._credentials.accept(user, password):
            raise Refused("wrong user or password", b"\x01\x01")
        self._step = self._take_request
        return b"\x01\x00"

    # -- RFC 1928 section 4 ---------------------------------------------------------------------

    def _take_request(self) -> bytes | None:
        data = self._buffer
        if data[:1] not in (b"", b"\x05"):
            raise Refused("another version", build_reply(GENERAL_FAILURE))
        if len(data) < 5:
            return None
        kind = data[3]
        address = {_IPV4: 4, _IPV6: 16, _NAME: 1 + data[4]}.get(kind)
        if address is None:
            raise Refused("unknown type of address", build_reply(ADDRESS_TYPE_NOT_SUPPORTED))
        if len(data) < 4 + address + 2:
            return None
        request = self._take(4 + address + 2)
        if request[1] != _CONNECT:
            raise Refused("only CONNECT is carried", build_reply(COMMAND_NOT_SUPPORTED))
        port = int.from_bytes(request[-2:])
        if kind == _NAME:
            host = parse_host(request[5:-2])
            if host is None:
                raise Refused("not a name", build_reply(HOST_UNREACHABLE))
        else:
            host = str(ipaddress.ip_address(request[4:-2]))
        # What comes behind the request belongs to the target, though few clients are so quick.
        self.request = Request(host, port, self._buffer)
        self._buffer = b""
        return b""

    def _take(self, octets: int) -> bytes:
        taken, self._buffer = self._buffer[:octets], self._buffer[octets:]
        return taken


def build_reply(code: int) -> bytes:
    """RFC 1928 section 6. The bound address is the pod's, which says nothing to anybody: 0.0.0.0:0
    is what others without one answer."""
    return bytes([VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0])


def parse_host(raw: bytes) -> str | None:
    """A name or an address in text; None where no resolver would take it."""
    if not 0 < len(raw) <= 253 or any(not 0x21 <= octet <= 0x7E for octet in raw):
        return None
    return raw.decode("ascii")
