"""Channel control of our own: how flows' channels are opened, and end, without asyncssh.

asyncssh has a task, a future and a handful of turns of the event loop for each channel, which costs
more than connecting. Here a message is dealt with when it comes in. What waits behind unread data
is `ktnet.stream.datachannel`'s to know, as with asyncssh's channels.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Protocol

from ktnet.errors import RemoteProtocolError
from ktnet.stream.batch import call_soon
from ktnet.wire.sshchannel import (
    DIRECT_TCPIP,
    MSG_CHANNEL_OPEN,
    MSG_CLOSE,
    MSG_EOF,
    MSG_FAILURE,
    MSG_OPEN_CONFIRMATION,
    MSG_OPEN_FAILURE,
    MSG_REQUEST,
    TcpOpen,
    Terms,
    build_open_confirmation,
    build_open_failure,
    build_tcp_open,
    build_to_channel,
    check_nothing_more,
    parse_open_confirmation,
    parse_open_failure,
    parse_open_kind,
    parse_recipient,
    parse_tcp_open,
    parse_wants_reply,
    parse_window_growth,
)
from ktnet.wire.window import PACKET_BYTES

FIRST_NUMBER = 1 << 30
"""Of the channels here: asyncssh counts its own from zero."""


class Session(Protocol):
    """Whose channel it is (a `ktnet.stream.datachannel.DataChannel`)."""

    def begin(self, channel: OwnChannel, theirs: Terms, window_bytes: int) -> None:
        """It is open at both ends; `window_bytes` is what the peer may send."""

    def session_started(self) -> None:
        """Deliveries may begin."""

    def window_grows(self, count: int) -> None:
        """By so many bytes, with what the peer says next of its window."""

    def eof_received(self) -> bool:
        """EOF has come."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """CLOSE has come and gone, or the connection is lost."""


class Client(Protocol):
    """Who has a channel opened."""

    def build_session(self) -> Session:
        """It is open: whose shall it be?"""

    def open_refused(self, code: int) -> None:
        """The peer says no, for this reason (RFC 4254 section 5.1)."""

    def open_lost(self) -> None:
        """The connection was lost before the peer answered."""


class _State(enum.Enum):
    OPENING = enum.auto()
    OPEN = enum.auto()
    OVER = enum.auto()


class OwnChannel:
    """One channel, to its session as asyncssh's would be."""

    def __init__(self, control: ChannelControl, number: int, window_bytes: int) -> None:
        self.number = number
        self.peer_number = -1
        self._control = control
        self._window_bytes = window_bytes
        self._client: Client | None = None
        self._session: Session | None = None
        self._state = _State.OPENING
        self._eof_sent = False
        self._close_sent = False
        self._eof_received = False
        self._close_received = False

    # -- what the peer says --------------------------------------------------------------------

    def process_packet(self, kind: int, _pktid: object, payload: bytes) -> None:
        """Any message for this channel. (A name of asyncssh's: flows watch for it.)"""
        if kind == MSG_EOF and self._is_heard():
            check_nothing_more(payload)
            self._eof_received = True
            assert self._session is not None  # noqa: S101  (it is open)
            self._session.eof_received()
        elif kind == MSG_CLOSE and self._state is _State.OPEN and not self._close_received:
            check_nothing_more(payload)
            self._close_received = True
            self._send_close()
            call_soon(self.end, None)
        elif kind == MSG_OPEN_CONFIRMATION and self._state is _State.OPENING and self._client:
            theirs = parse_open_confirmation(payload)
            client, self._client = self._client, None
            self.open(client.build_session(), theirs)
        elif kind == MSG_OPEN_FAILURE and self._state is _State.OPENING and self._client:
            code = parse_open_failure(payload)
            client, self._client = self._client, None
            self.end(None)
            client.open_refused(code)
        elif kind == MSG_REQUEST and self._state is _State.OPEN and not self._close_received:
            self._take_request(payload)
        else:
            raise RemoteProtocolError(f"SSH message {kind} for a channel that takes none")

    def _take_request(self, payload: bytes) -> None:
        assert self._session is not None  # noqa: S101  (it is open)
        if (growth := parse_window_growth(payload)) is not None:
            self._session.window_grows(growth)
        elif parse_wants_reply(payload) and not self._close_sent:
            self._control.send(build_to_channel(MSG_FAILURE, self.peer_number))

    def _is_heard(self) -> bool:
        return self._state is _State.OPEN and not (self._eof_received or self._close_received)

    def ask(self, client: Client) -> None:
        """Wait for the peer's answer on behalf of `client`."""
        self._client = client

    def open(self, session: Session, theirs: Terms) -> None:
        """Both ends know each other."""
        self._state = _State.OPEN
        self._session = session
        self.peer_number = theirs.number
        session.begin(self, theirs, self._window_bytes)
        session.session_started()

    def end(self, exc: BaseException | None) -> None:
        """It is over: after CLOSE both ways, or with the connection."""
        if self._state is _State.OVER:
            return
        self._state = _State.OVER
        self._control.forget(self)
        session, self._session = self._session, None
        client, self._client = self._client, None
        if session is not None:
            session.connection_lost(exc)
        if client is not None:
            client.open_lost()

    # -- what its session does (see `ktnet.stream.internals.TakenChannel`) -------------------------

    @property
    def has_peer(self) -> bool:
        """Whether the peer still knows the channel: no CLOSE has been sent."""
        return self._state is _State.OPEN and not self._close_sent

    def write_eof(self) -> None:
        """EOF."""
        if self.has_peer and not self._eof_sent:
            self._eof_sent = True
            self._control.send(build_to_channel(MSG_EOF, self.peer_number))

    def close(self) -> None:
        """CLOSE; the end comes when the peer has sent its own."""
        if self._state is _State.OPEN:
            self._send_close()

    abort = close

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._eof_sent or self._close_sent or self._state is not _State.OPEN

    def _send_close(self) -> None:
        if not self._close_sent:
            self._close_sent = True
            self._control.send(build_to_channel(MSG_CLOSE, self.peer_number))


class ChannelRequest:
    """The peer wants a channel: it gets an answer, or the connection ends."""

    def __init__(self, control: ChannelControl, request: TcpOpen) -> None:
        self.target = (request.host, request.port)
        self.origin = request.origin
        self._control = control
        self._terms = request.terms

    def accept(self, session: Session, window_bytes: int) -> None:
        """Confirm; the session begins."""
        channel = self._control.add(window_bytes)
        terms = Terms(channel.number, window_bytes, PACKET_BYTES)
        self._control.send(build_open_confirmation(self._terms.number, terms))
        channel.open(session, self._terms)
        if self._control.is_over:
            channel.end(None)

    def refuse(self, code: int, reason: str) -> None:
        """Say why not."""
        self._control.send(build_open_failure(self._terms.number, code, reason))


Serve = Callable[[ChannelRequest], object]


class ChannelControl:
    """The channels of one connection whose control is here."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        """`send` takes the payload of a message, to go out in order with everything else."""
        self._send = send
        self.is_over = False
        """Whether the connection is."""
        self.serve: Serve | None = None
        """Takes the peer's requests for `direct-tcpip`; None: they are asyncssh's."""
        self._channels: dict[int, OwnChannel] = {}
        self._next_number = FIRST_NUMBER

    def send(self, payload: bytes) -> None:
        """Send a message, as long as there is a peer."""
        if not self.is_over:
            self._send(payload)

    def add(self, window_bytes: int) -> OwnChannel:
        """A channel with a number of its own."""
        channel = OwnChannel(self, self._next_number, window_bytes)
        self._next_number += 1
        self._channels[channel.number] = channel
        return channel

    def forget(self, channel: OwnChannel) -> None:
        """It is over."""
        self._channels.pop(channel.number, None)

    def ask(
        self, client: Client, target: tuple[str, int], origin: tuple[str, int], window_bytes: int
    ) -> OwnChannel:
        """Ask the peer for a `direct-tcpip` channel to `target`."""
        channel = self.add(window_bytes)
        channel.ask(client)
        terms = Terms(channel.number, window_bytes, PACKET_BYTES)
        self.send(build_tcp_open(DIRECT_TCPIP, TcpOpen(terms, *target, origin)))
        return channel

    def take(self, payload: Any) -> bool:
        """Deal with a message about a channel; False where it is asyncssh's to.

        RemoteProtocolError where it isn't as it must be.
        """
        kind = payload[0]
        if kind == MSG_CHANNEL_OPEN:
            if self.serve is None or parse_open_kind(payload) != DIRECT_TCPIP:
                return False
            self.serve(ChannelRequest(self, parse_tcp_open(payload)))
            return True
        channel = self._channels.get(parse_recipient(payload))
        if channel is None:
            return False
        channel.process_packet(kind, None, payload)
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """All of them end."""
        self.is_over = True
        for channel in list(self._channels.values()):
            channel.end(exc)
