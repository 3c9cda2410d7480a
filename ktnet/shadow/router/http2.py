"""One client's HTTP/2 connection: each of its streams goes where its headers say.

One HTTP/2 connection to each destination, the client's alone, carries its streams there.
"""

from __future__ import annotations

from functools import partial

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

from ktnet.shadow.destinations import Destination
from ktnet.shadow.router.goaway import HIGHEST_STREAM, Goaway, build_goaway
from ktnet.shadow.router.http2_end import End, Headers
from ktnet.shadow.router.http2_upstream import Exchange, Upstream
from ktnet.shadow.router.routes import LINGER_S, SETTLE_S, CallLater, Routes
from ktnet.wire.flow import Flow, OpenFailure


class Http2Connection(End):
    """The receiver of the client's flow (see `ktnet.wire.flow.Receiver`)."""

    def __init__(
        self, client: Flow, routes: Routes, peer: tuple[str, int], call_later: CallLater
    ) -> None:
        super().__init__(client_side=False)
        self.end: End = self
        self.flow = client
        self._routes = routes
        self._peer = peer
        self._call_later = call_later
        self._streams: dict[int, tuple[Exchange, Upstream]] = {}
        self._upstreams: dict[Destination, Upstream] = {}
        self._draining = False
        self._over = False
        self.flush()

    @property
    def idle(self) -> bool:
        """Nothing is owed to the client."""
        return not self._streams

    def drain(self) -> None:
        """GOAWAY: the client opens its next streams elsewhere, those that are open go on."""
        if not self._draining and not self._over and self.flow is not None:
            self._draining = True
            self.flush()
            # No stream that is on its way is lost by this one (RFC 9113 section 6.8).
            self.flow.write(build_goaway(HIGHEST_STREAM))

    def finish(self) -> None:
        """The router is about to be gone: a client that waits for nothing is left."""
        if self.idle:
            self._end()

    # -- the client ----------------------------------------------------------------------------

    def opened(self, _flow: Flow) -> None:
        """It was open before."""

    def open_failed(self, _failure: OpenFailure) -> None:
        """It was open before."""

    def data_received(self, data: bytes) -> None:
        """Frames."""
        if self._over:
            return
        try:
            for event in self.read(data):
                self._take(event)
        except H2Error:
            self._end()
            return
        self.flush_all()

    def eof_received(self) -> None:
        """A client that sends no more can't acknowledge either: it is gone."""
        self._end()

    def closed(self, *, reset: bool) -> None:
        """The client has gone."""
        self.flow = None
        self._over = True
        self._leave_upstreams()

    def pause_writing(self) -> None:
        """The client takes no more."""
        self.full = True

    def resume_writing(self) -> None:
        """It does again."""
        self.full = False
        self.window_opened(0)
        self.flush_all()

    def flush_all(self) -> None:
        """Send what is ready, to the client and to the destinations."""
        self.flush()
        for upstream in list(self._upstreams.values()):
            upstream.flush()

    def _take(self, event: Event | Goaway) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            found = self._streams.get(event.stream_id)
            cost = event.flow_controlled_length
            if found is None:
                self._discard(event.stream_id, cost)
            elif found[0].onward is not None:
                found[0].onward.push(event.data, cost)
            else:
                found[0].early.append((event.data, cost))
        elif isinstance(event, TrailersReceived):
            self._end_request(event.stream_id, list(event.headers))
        elif isinstance(event, StreamEnded):
            self._end_request(event.stream_id, None)
        elif isinstance(event, StreamReset):
            if (found := self._streams.pop(event.stream_id, None)) is not None:
                self.outlets.pop(event.stream_id, None)
                found[1].give_up(found[0], event.error_code)
        else:
            self.take_room(event)

    def _begin(self, event: RequestReceived) -> None:
        headers = list(event.headers)
        exchange = Exchange(event.stream_id, headers)
        exchange.request_ended = event.stream_ended is not None
        exchange.has_body = not exchange.request_ended
        self.carry(exchange)

    def _end_request(self, stream: int, trailers: Headers | None) -> None:
        found = self._streams.get(stream)
        if found is None or found[0].request_ended:
            return
        exchange = found[0]
        exchange.request_ended = True
        if exchange.onward is not None:
            exchange.onward.finish(trailers)
        else:
            exchange.early_trailers = trailers
        self.forget_if_over(exchange)

    def _discard(self, stream: int, cost: int) -> None:
        """Of a stream that is over here: its share of the connection's window is given back."""
        try:
            self.h2.acknowledge_received_data(cost, stream)
        except H2Error:
            self.h2.increment_flow_control_window(cost)

    # -- the destinations ----------------------------------------------------------------------

    def choose(self, exchange: Exchange) -> Destination:
        """Where it would go now."""
        return self._routes.choose(exchange.headers)

    def carry(self, exchange: Exchange) -> None:
        """Have it go where it goes now: for the first time, or anew."""
        destination = self.choose(exchange)
        upstream = self._upstreams.get(destination)
        if upstream is None:
            upstream = self._upstreams[destination] = Upstream(self, destination, self._peer)
            upstream.open()
        self._streams[exchange.client_stream] = (exchange, upstream)
        upstream.begin(exchange)

    def settle(self, exchange: Exchange, upstream: Upstream, reason: str) -> None:
        """The connection is lost: was it the laptop's process, or has the laptop gone?"""
        self._call_later(SETTLE_S, partial(self._settle, exchange, upstream, reason))

    def _settle(self, exchange: Exchange, upstream: Upstream, reason: str) -> None:
        if self._streams.get(exchange.client_stream) != (exchange, upstream):
            return
        if self.choose(exchange) is upstream.destination:
            self.refuse(exchange, reason)
        else:
            self.carry(exchange)
        self.flush_all()

    def pass_interim(self, exchange: Exchange, headers: Headers) -> None:
        """A 1xx response."""
        if exchange.client_stream in self._streams:
            self.h2.send_headers(exchange.client_stream, headers)

    def pass_headers(self, exchange: Exchange, headers: Headers, *, is_all: bool) -> None:
        """The response begins; or it is all of it (gRPC takes no empty DATA for that)."""
        if exchange.client_stream in self._streams:
            exchange.answered = True
            self.h2.send_headers(exchange.client_stream, headers, end_stream=is_all)
            if is_all and exchange.back is not None:
                exchange.back.skip()

    def reset_exchange(self, exchange: Exchange, error_code: int) -> None:
        """The destination gives this stream up."""
        if self._streams.pop(exchange.client_stream, None) is not None:
            self.reset_stream(exchange.client_stream, error_code)

    def refuse(self, exchange: Exchange, reason: str) -> None:
        """Answer ourselves: gRPC's UNAVAILABLE, or 502."""
        if self._streams.pop(exchange.client_stream, None) is None:
            return
        text = f"ktnet router: {reason}".encode()
        is_grpc = any(
            name == b"content-type" and value.startswith(b"application/grpc")
            for name, value in exchange.headers
        )
        if is_grpc:
            # https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: "Trailers-Only"
            headers = [
                (b":status", b"200"),
                (b"content-type", b"application/grpc"),
                (b"grpc-status", b"14"),
                (b"grpc-message", text),
            ]
            self.h2.send_headers(exchange.client_stream, headers, end_stream=True)
        else:
            headers = [
                (b":status", b"502"),
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(text)),
            ]
            self.h2.send_headers(exchange.client_stream, headers)
            self.h2.send_data(exchange.client_stream, text, end_stream=True)
        if not exchange.request_ended:
            self.reset_stream(exchange.client_stream, ErrorCodes.NO_ERROR)

    def forget_upstream(self, upstream: Upstream) -> None:
        """It takes no new streams."""
        if self._upstreams.get(upstream.destination) is upstream:
            del self._upstreams[upstream.destination]

    def forget_if_over(self, exchange: Exchange) -> None:
        """Once everything has come and gone, in both directions."""
        if exchange.request_ended and exchange.back is not None and exchange.back.ended:
            self._streams.pop(exchange.client_stream, None)

    # -- the end -------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self.flush()
        if self.flow is not None:
            self.flow.write_eof()
            self._call_later(LINGER_S, self.flow.reset)
        self._leave_upstreams()

    def _leave_upstreams(self) -> None:
        """Those, too, that take no new streams any more."""
        for upstream in {each for _, each in self._streams.values()} | set(
            self._upstreams.values()
        ):
            upstream.drop()
        self._streams.clear()
        self._upstreams.clear()
