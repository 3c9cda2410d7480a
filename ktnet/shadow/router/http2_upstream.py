"""The HTTP/2 connection that carries one client's streams to one destination."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Protocol

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

from ktnet.shadow.destinations import Destination
from ktnet.shadow.router.goaway import Goaway
from ktnet.shadow.router.http1_requests import REPEATABLE
from ktnet.shadow.router.http2_end import End, Headers, Outlet
from ktnet.wire.flow import Flow, OpenFailure, Opening


class Exchange:
    """A stream of the client's and the one that carries it on."""

    def __init__(self, client_stream: int, headers: Headers) -> None:
        self.client_stream = client_stream
        self.headers = headers
        self.early: list[tuple[bytes, int]] = []
        self.early_trailers: Headers | None = None
        self.request_ended = False
        self.upstream_stream = 0
        self.onward: Outlet | None = None
        self.back: Outlet | None = None
        self.answered = False
        self.has_body = True

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again where it isn't known what became of it."""
        method = next((value for name, value in self.headers if name == b":method"), b"")
        return method in REPEATABLE and not self.has_body and not self.answered


class ClientSide(Protocol):
    """Whom the connection serves, told what the destination does with its streams."""

    end: End
    """The client's."""

    def pass_interim(self, exchange: Exchange, headers: Headers) -> None:
        """A 1xx response."""

    def pass_headers(self, exchange: Exchange, headers: Headers, *, is_all: bool) -> None:
        """The response begins; or it is all of it."""

    def reset_exchange(self, exchange: Exchange, error_code: int) -> None:
        """The destination gives this stream up."""

    def refuse(self, exchange: Exchange, reason: str) -> None:
        """There is no answer but our own."""

    def forget_if_over(self, exchange: Exchange) -> None:
        """Once everything has come and gone, in both directions."""

    def forget_upstream(self, upstream: Upstream) -> None:
        """It takes no new streams."""

    def flush_all(self) -> None:
        """Send what is ready, to the client and to the destinations."""

    def choose(self, exchange: Exchange) -> Destination:
        """Where it would go now."""

    def carry(self, exchange: Exchange) -> None:
        """Have it go where it goes now, anew."""

    def settle(self, exchange: Exchange, upstream: Upstream, reason: str) -> None:
        """The connection is lost: begin it anew where its laptop has gone, else refuse it."""


class Upstream(End):
    """The connection that carries a client's streams to one destination."""

    def __init__(self, client: ClientSide, destination: Destination, peer: tuple[str, int]) -> None:
        super().__init__(client_side=True)
        self.destination = destination
        self._client = client
        self._peer = peer
        self._exchanges: dict[int, Exchange] = {}
        self._queued: deque[Exchange] = deque()
        self._opening: Opening | None = None
        self._gone = False
        self._told_to_go = False

    # -- what the client's side says -----------------------------------------------------------

    def open(self) -> None:
        """Dial."""
        self._opening = self.destination.open(self._peer, self)

    def begin(self, exchange: Exchange) -> None:
        """Carry it on, as soon as the destination takes another stream."""
        self._queued.append(exchange)
        self._start_queued()

    def give_up(self, exchange: Exchange, error_code: int) -> None:
        """The client has reset it."""
        if exchange in self._queued:
            self._queued.remove(exchange)
        elif self._exchanges.pop(exchange.upstream_stream, None) is not None:
            self.reset_stream(exchange.upstream_stream, error_code)
            self._start_queued()

    def drop(self) -> None:
        """The client has gone."""
        self._gone = True
        if self.flow is not None:
            self.flow.reset()
        elif self._opening is not None:
            self._opening.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether answers are awaited."""
        return bool(self._exchanges or self._queued) and not self._gone

    def fall_silent(self) -> None:
        """Nobody knows when the destination will say something again, if ever.

        What hasn't been sent to it and what may be sent twice goes elsewhere. All else goes on
        waiting: the destination may have done it, and mostly comes back within seconds.
        """
        if not self.is_busy:
            return
        if self.flow is None:
            first = next(iter([*self._exchanges.values(), *self._queued]))
            if self._opening is not None:
                self._opening.cancel()
            self._opening = self._client.choose(first).open(self._peer, self)
            return
        elsewhere = [*self._queued]
        self._queued.clear()
        for exchange in list(self._exchanges.values()):
            if exchange.is_repeatable:
                self.give_up(exchange, ErrorCodes.CANCEL)
                elsewhere.append(exchange)
        for exchange in elsewhere:
            self._client.carry(exchange)
        self.flush()
        self._client.flush_all()

    def _start_queued(self) -> None:
        while self._queued:
            if self.h2.open_outbound_streams >= self.h2.remote_settings.max_concurrent_streams:
                return
            self._start(self._queued.popleft())

    def _start(self, exchange: Exchange) -> None:
        stream = exchange.upstream_stream = self.h2.get_next_available_stream_id()
        self._exchanges[stream] = exchange
        ends = exchange.request_ended and not exchange.early and exchange.early_trailers is None
        self.h2.send_headers(stream, exchange.headers, end_stream=ends)
        client = self._client.end
        over = partial(self._client.forget_if_over, exchange)
        exchange.back = Outlet(self, stream, client, exchange.client_stream, over)
        client.outlets[exchange.client_stream] = exchange.back
        if ends:
            return
        exchange.onward = Outlet(client, exchange.client_stream, self, stream, over)
        self.outlets[stream] = exchange.onward
        for data, cost in exchange.early:
            exchange.onward.push(data, cost)
        exchange.early.clear()
        if exchange.request_ended:
            exchange.onward.finish(exchange.early_trailers)

    # -- what the destination does -------------------------------------------------------------

    def opened(self, flow: Flow) -> None:
        """Connected."""
        self.flow = flow
        self.flush()

    def open_failed(self, _failure: OpenFailure) -> None:
        """Not connected."""
        self._fail("no connection to where this request belongs")

    def data_received(self, data: bytes) -> None:
        """Frames."""
        if self._gone:
            return
        try:
            for event in self.read(data):
                self._take(event)
        except H2Error:
            self.flush()
            if self.flow is not None:
                self.flow.write_eof()
            self._fail("the answer is no HTTP/2")
            return
        self._start_queued()
        self._client.flush_all()
        self.flush()

    def eof_received(self) -> None:
        """It will say no more."""
        if self.flow is not None:
            self.flow.write_eof()
        self._fail("the connection was closed")

    def closed(self, *, reset: bool) -> None:
        """It is gone."""
        self.flow = None
        self._fail("the connection was reset" if reset else "the connection was closed")

    def pause_writing(self) -> None:
        """It takes no more."""
        self.full = True

    def resume_writing(self) -> None:
        """It does again."""
        self.full = False
        self.window_opened(0)
        self.flush()
        self._client.flush_all()

    def _take(self, event: Event | Goaway) -> None:
        if isinstance(event, Goaway):
            self._take_goaway(event)
            return
        self.take_room(event)
        stream: Any = getattr(event, "stream_id", None)
        exchange = self._exchanges.get(stream)
        if exchange is None or exchange.back is None:
            if isinstance(event, DataReceived):
                self.h2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, InformationalResponseReceived):
            self._client.pass_interim(exchange, list(event.headers))
        elif isinstance(event, ResponseReceived):
            self._client.pass_headers(
                exchange, list(event.headers), is_all=event.stream_ended is not None
            )
        elif isinstance(event, DataReceived):
            exchange.back.push(event.data, event.flow_controlled_length)
        elif isinstance(event, TrailersReceived):
            self._end_response(exchange, list(event.headers))
        elif isinstance(event, StreamEnded):
            self._end_response(exchange, None)
        elif isinstance(event, StreamReset):
            del self._exchanges[stream]
            self.outlets.pop(stream, None)
            self._client.reset_exchange(exchange, event.error_code)

    def _end_response(self, exchange: Exchange, trailers: Headers | None) -> None:
        if self._exchanges.pop(exchange.upstream_stream, None) is None or exchange.back is None:
            return
        if not exchange.request_ended:
            # Whole without the rest of the request (RFC 9113 section 8.1).
            self.reset_stream(exchange.upstream_stream, ErrorCodes.NO_ERROR)
        exchange.back.finish(trailers)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        """After a GOAWAY nobody else would close the connection."""
        if self._told_to_go and not self._exchanges and self.flow is not None:
            self._gone = True
            self.flush()
            self.flow.write_eof()

    def _take_goaway(self, event: Goaway) -> None:
        self._told_to_go = True
        self._client.forget_upstream(self)
        for stream, exchange in list(self._exchanges.items()):
            if stream > event.last_stream:
                del self._exchanges[stream]
                self.outlets.pop(stream, None)
                # It was not processed, so the client may send it again (section 8.7).
                self._client.reset_exchange(exchange, ErrorCodes.REFUSED_STREAM)
        for exchange in self._queued:
            self._client.reset_exchange(exchange, ErrorCodes.REFUSED_STREAM)
        self._queued.clear()
        self._leave_if_done()

    def _fail(self, reason: str) -> None:
        if self._gone:
            return
        self._gone = True
        self._client.forget_upstream(self)
        for exchange in [*self._exchanges.values(), *self._queued]:
            if exchange.answered:
                self._client.reset_exchange(exchange, ErrorCodes.INTERNAL_ERROR)
            elif exchange.is_repeatable:
                self._client.settle(exchange, self, reason)
            else:
                self._client.refuse(exchange, reason)
        self._exchanges.clear()
        self._queued.clear()
        self._client.flush_all()
