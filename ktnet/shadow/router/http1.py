"""One client's HTTP/1 connection: each of its requests goes where its headers say.

One request at a time. Its upstream connection is kept for the next one to the same destination,
and is the client's alone, so that what one client leaves behind is never another one's. Heads and
bodies go on as they come, with the pressure of either side passed to the other, and no time-out is
ours: a client that waits for an answer for an hour gets it.

Pipelined requests are refused in the way that RFC 9112 section 9.3.2 leaves open: the connection
closes behind the answer that it owes, and the client sends them again. So nothing that hides behind
a request's end is ever taken for another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ktnet.shadow.destinations import Destination
from ktnet.shadow.router.bodies import Body, open_body
from ktnet.shadow.router.http1_requests import may_repeat, without_h2c
from ktnet.shadow.router.http1_upstream import Upstream
from ktnet.shadow.router.routes import LINGER_S, SETTLE_S, CallLater, Routes
from ktnet.stream.joining import Half, join
from ktnet.wire.flow import Flow, OpenFailure, Opening
from ktnet.wire.http1 import (
    BadMessage,
    RequestHead,
    ResponseHead,
    build_closing,
    build_refusal,
    find_head_end,
    parse_request_head,
)

_FAILURES = {
    OpenFailure.REFUSED: "nothing listens there",
    OpenFailure.HOST_UNREACHABLE: "it is unreachable",
    OpenFailure.NETWORK_UNREACHABLE: "its network is unreachable",
    OpenFailure.TIMED_OUT: "it does not answer",
    OpenFailure.TUNNEL_DOWN: "its laptop is away",
}


@dataclass(slots=True)
class _Exchange:
    """A request and its answer."""

    head: RequestHead
    body: Body | None
    """What is still to come of the request; None when it has gone."""
    upstream: Upstream
    response: ResponseHead | None = None
    answered: bool = False
    """Something of the answer has reached the client."""


class Http1Connection:
    """The receiver of the client's flow (see `ktnet.wire.flow.Receiver`)."""

    def __init__(
        self, client: Flow, routes: Routes, peer: tuple[str, int], call_later: CallLater
    ) -> None:
        self._client = client
        self._routes = routes
        self._peer = peer
        self._call_later = call_later
        self._buffer = bytearray()
        self._scanned = 0
        self._exchange: _Exchange | None = None
        self._upstreams: dict[Destination, Upstream] = {}
        self._closing = False  # the answer under way, or the last one, ends the connection
        self._over = False  # we have ended it
        self._client_ended = False
        self._client_full = False
        self._tunnel: Half | None = None

    def drain(self) -> None:
        """The router is going: let the client take its next request elsewhere."""
        self._closing = True

    def finish(self) -> None:
        """It is about to be gone: a client that waits for nothing is left."""
        if self.idle and not self._buffer:
            self._end()

    @property
    def idle(self) -> bool:
        """Nothing is owed to the client."""
        return self._exchange is None and self._tunnel is None

    # -- the client ----------------------------------------------------------------------------

    def opened(self, _flow: Flow) -> None:
        """It was open before."""

    def open_failed(self, _failure: OpenFailure) -> None:
        """It was open before."""

    def data_received(self, data: bytes) -> None:
        """A request, a part of one, or more than one."""
        if self._tunnel is not None:
            self._tunnel.data_received(data)
        elif self._over:
            return
        elif self._exchange is None:
            self._buffer += data
            self._take_head()
        elif self._exchange.body is not None:
            self._take_body(data)
        else:
            self._refuse_pipelined(data)

    def eof_received(self) -> None:
        """The client sends no more; it may still wait for an answer."""
        if self._tunnel is not None:
            self._tunnel.eof_received()
            return
        self._client_ended = True
        if self._over:
            return
        if self._exchange is None:
            self._end()
        elif self._exchange.body is not None:
            self._abort()

    def closed(self, *, reset: bool) -> None:
        """The client has gone."""
        if self._tunnel is not None:
            self._tunnel.closed(reset=reset)
        self._over = True
        self._leave_upstreams(reset=reset)

    def pause_writing(self) -> None:
        """The client takes no more."""
        self._client_full = True
        if self._tunnel is not None:
            self._tunnel.pause_writing()
        elif self._exchange is not None:
            self._exchange.upstream.hold()

    def resume_writing(self) -> None:
        """It does again."""
        self._client_full = False
        if self._tunnel is not None:
            self._tunnel.resume_writing()
        for upstream in self._upstreams.values():
            upstream.release()

    # -- a request -----------------------------------------------------------------------------

    def _take_head(self) -> None:
        while self._buffer[:2] == b"\r\n":
            del self._buffer[:2]  # RFC 9112 section 2.2
            self._scanned = 0
        try:
            end = find_head_end(self._buffer, self._scanned)
            if end is None:
                self._scanned = len(self._buffer)
                return
            head = without_h2c(parse_request_head(bytes(self._buffer[:end])))
            body = open_body(head)
        except BadMessage as error:
            self._refuse(error.status, error.reason)
            return
        rest = bytes(self._buffer[end:])
        self._buffer.clear()
        self._scanned = 0
        upstream = self._find_upstream(self._routes.choose(head.fields))
        self._exchange = _Exchange(head, body, upstream)
        if not head.keep_alive:
            self._closing = True
        upstream.begin(head)
        if rest:
            self.data_received(rest)

    def _take_body(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None and exchange.body is not None  # noqa: S101, PT018
        try:
            onward = exchange.body.feed(data)
        except BadMessage as error:
            if exchange.answered:
                self._abort()
            else:
                self._refuse(error.status, error.reason)
            return
        if onward:
            exchange.upstream.send(onward)
        if exchange.body.done:
            excess = exchange.body.excess
            exchange.body = None
            if excess:
                self._refuse_pipelined(excess)

    def _refuse_pipelined(self, data: bytes) -> None:
        if data.strip(b"\r\n"):
            self._closing = True

    def _find_upstream(self, destination: Destination) -> Upstream:
        upstream = self._upstreams.get(destination)
        if upstream is None:
            upstream = Upstream(self, destination)
            self._upstreams[destination] = upstream
        return upstream

    # -- its answer ----------------------------------------------------------------------------

    def open_upstream(self, upstream: Upstream, destination: Destination) -> Opening:
        """Dial; the client's bytes wait meanwhile."""
        self._client.pause_reading()
        return destination.open(self._peer, upstream)

    def upstream_opened(self) -> None:
        """The client's bytes can go on."""
        if not self._over:
            self._client.resume_reading()
        if self._client_full and self._exchange is not None:
            self._exchange.upstream.hold()

    def upstream_failed(self, upstream: Upstream, failure: OpenFailure) -> None:
        """There is no way there."""
        self.forget_upstream(upstream)
        reason = _FAILURES.get(failure, "it can't be reached")
        self._refuse(502, f"no connection to where this request belongs: {reason}")
        self._client.resume_reading()

    def upstream_full(self, *, full: bool) -> None:
        """The destination takes no more of the request, or does again."""
        if self._over:
            return
        if full:
            self._client.pause_reading()
        else:
            self._client.resume_reading()

    def pass_interim(self, head: ResponseHead) -> None:
        """A 1xx response (RFC 9110 section 15.2)."""
        assert self._exchange is not None  # noqa: S101
        self._exchange.answered = True
        self._client.write(head.raw)

    def switch(self, head: ResponseHead, there: Flow, rest: bytes) -> Half:
        """101: from here on it is bytes. Returns the receiver for the other side."""
        self._client.write(head.raw)
        self._exchange = None
        here, far = join(self._client, there)
        self._tunnel = here
        if rest:
            far.data_received(rest)
        if self._client_full:
            there.pause_reading()
        self._client.resume_reading()
        return far

    def pass_head(self, head: ResponseHead) -> None:
        """The final response begins."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101
        exchange.response = head
        exchange.answered = True
        if not head.keep_alive:
            self._closing = True
        self._client.write(build_closing(head.raw) if self._closing else head.raw)

    def pass_body(self, data: bytes) -> None:
        """It goes on."""
        self._client.write(data)

    def pass_end(self, upstream: Upstream, *, reusable: bool) -> None:
        """The response is complete."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101
        self._exchange = None
        if exchange.body is not None or not reusable:
            # What is left of the request belongs to nobody any more.
            self._closing = self._closing or exchange.body is not None
            self.forget_upstream(upstream)
            upstream.drop()
        if self._closing or self._client_ended:
            self._end()
        else:
            self._client.resume_reading()

    def upstream_lost(self, upstream: Upstream, *, reset: bool) -> None:
        """The destination has closed a connection of this client."""
        self.forget_upstream(upstream)
        exchange = self._exchange
        if self._over or exchange is None or exchange.upstream is not upstream:
            # As the client would see it without us; a laptop that goes is no news to it.
            is_origin = upstream.destination is self._routes.origin
            if is_origin and not (self._over or exchange or self._upstreams or self._buffer):
                self._end()
            return
        if exchange.answered or not may_repeat(exchange.head):
            self._give_up(exchange, reset=reset)
        elif upstream.reused:
            # Closed while the request was on its way there: the server has not seen it.
            self._repeat(exchange, upstream.destination)
        elif upstream.destination is self._routes.origin:
            self._give_up(exchange, reset=reset)
        else:
            # Was it the laptop's process, or has the laptop gone?
            self._call_later(SETTLE_S, partial(self._settle, exchange, upstream, reset=reset))

    def _settle(self, exchange: _Exchange, upstream: Upstream, *, reset: bool) -> None:
        if self._over or self._exchange is not exchange or exchange.upstream is not upstream:
            return
        now = self._routes.choose(exchange.head.fields)
        if now is upstream.destination:
            self._give_up(exchange, reset=reset)
        else:
            self._repeat(exchange, now)

    def _repeat(self, exchange: _Exchange, destination: Destination) -> None:
        exchange.upstream = self._find_upstream(destination)
        exchange.upstream.begin(exchange.head)

    def _give_up(self, exchange: _Exchange, *, reset: bool) -> None:
        if exchange.answered or reset:
            self._abort()
        else:
            self._exchange = None
            self._end()

    def ask_elsewhere(self, upstream: Upstream) -> None:
        """The destination has fallen silent before it has answered anything."""
        exchange = self._exchange
        if exchange is None or exchange.upstream is not upstream or exchange.answered:
            return
        if self._over:
            return
        if upstream.is_unsent:
            upstream.redial(self._routes.choose(exchange.head.fields))
            return
        if not may_repeat(exchange.head):
            return
        self.forget_upstream(upstream)
        upstream.drop()
        self._client.resume_reading()
        self._repeat(exchange, self._routes.choose(exchange.head.fields))

    def forget_upstream(self, upstream: Upstream) -> None:
        """It serves no more requests."""
        if self._upstreams.get(upstream.destination) is upstream:
            del self._upstreams[upstream.destination]

    def answer_is_bad(self, reason: str) -> None:
        """The destination does not answer in HTTP/1."""
        assert self._exchange is not None  # noqa: S101
        if self._exchange.answered:
            self._abort()
        else:
            self._refuse(502, f"the answer is no HTTP/1: {reason}")

    # -- the end -------------------------------------------------------------------------------

    def _refuse(self, status: int, reason: str) -> None:
        """Answer ourselves, and end."""
        if self._exchange is not None:
            self.forget_upstream(self._exchange.upstream)
            self._exchange.upstream.drop()
            self._exchange = None
        self._client.write(build_refusal(status, reason))
        self._end()

    def _end(self) -> None:
        """In an orderly way: everything that was sent arrives."""
        if self._over:
            return
        self._over = True
        self._buffer.clear()
        self._client.write_eof()
        self._leave_upstreams(reset=False)
        if not self._client_ended:
            self._call_later(LINGER_S, self._client.reset)

    def _abort(self) -> None:
        """A message was cut off: let the client see that it was."""
        self._over = True
        self._exchange = None
        self._client.reset()
        self._leave_upstreams(reset=True)

    def _leave_upstreams(self, *, reset: bool) -> None:
        in_use = self._exchange.upstream if self._exchange is not None else None
        for upstream in list(self._upstreams.values()):
            if reset or upstream is in_use:
                upstream.drop()
            else:
                upstream.leave(self._call_later)
        self._upstreams.clear()
        self._exchange = None
