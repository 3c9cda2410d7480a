"""A connection that carries one client's HTTP/1 requests to one destination."""

from __future__ import annotations

from typing import Protocol

from ktnet.shadow.destinations import Destination
from ktnet.shadow.router.bodies import Body, open_body
from ktnet.shadow.router.routes import LINGER_S, CallLater
from ktnet.stream.joining import Half
from ktnet.wire.flow import Flow, OpenFailure, Opening
from ktnet.wire.http1 import (
    BadMessage,
    RequestHead,
    ResponseHead,
    find_head_end,
    parse_response_head,
)


class ClientSide(Protocol):
    """Whom the connection serves, told what the destination does."""

    def open_upstream(self, upstream: Upstream, destination: Destination) -> Opening:
        """Dial; the client's bytes wait meanwhile."""

    def upstream_opened(self) -> None:
        """The client's bytes can go on."""

    def upstream_failed(self, upstream: Upstream, failure: OpenFailure) -> None:
        """There is no way there."""

    def upstream_full(self, *, full: bool) -> None:
        """The destination takes no more of the request, or does again."""

    def upstream_lost(self, upstream: Upstream, *, reset: bool) -> None:
        """The destination has closed the connection."""

    def forget_upstream(self, upstream: Upstream) -> None:
        """It serves no more requests."""

    def pass_interim(self, head: ResponseHead) -> None:
        """A 1xx response (RFC 9110 section 15.2)."""

    def switch(self, head: ResponseHead, there: Flow, rest: bytes) -> Half:
        """101: from here on it is bytes. Returns the receiver for the other side."""

    def pass_head(self, head: ResponseHead) -> None:
        """The final response begins."""

    def pass_body(self, data: bytes) -> None:
        """It goes on."""

    def pass_end(self, upstream: Upstream, *, reusable: bool) -> None:
        """The response is complete."""

    def answer_is_bad(self, reason: str) -> None:
        """The destination does not answer in HTTP/1."""

    def ask_elsewhere(self, upstream: Upstream) -> None:
        """The destination has fallen silent before it has answered anything."""


class Upstream:
    """A connection to one destination (a `ktnet.wire.flow.Receiver`)."""

    def __init__(self, client: ClientSide, destination: Destination) -> None:
        self.destination = destination
        self.reused = False
        self._client = client
        self._flow: Flow | None = None
        self._early: list[bytes] = []
        self._head: RequestHead | None = None
        self._body: Body | None = None
        self._in_body = False
        self._keep_alive = False
        self._buffer = bytearray()
        self._scanned = 0
        self._tunnel: Half | None = None
        self._gone = False
        self._opening: Opening | None = None

    # -- what the client's side says -----------------------------------------------------------

    def begin(self, head: RequestHead) -> None:
        """Send a request."""
        self._head = head
        if self._opening is None:
            self._early.append(head.raw)
            self._opening = self._client.open_upstream(self, self.destination)
        else:
            self.reused = True
            self.send(head.raw)

    def send(self, data: bytes) -> None:
        """Send a part of a request."""
        if self._flow is not None:
            self._flow.write(data)
        elif not self._gone:
            self._early.append(data)

    def hold(self) -> None:
        """The client takes no more."""
        if self._flow is not None:
            self._flow.pause_reading()

    def release(self) -> None:
        """It does again."""
        if self._flow is not None:
            self._flow.resume_reading()

    def drop(self) -> None:
        """Have nothing to do with it any more."""
        self._gone = True
        if self._flow is not None:
            self._flow.reset()
            self._flow = None
        elif self._opening is not None:
            self._opening.cancel()

    def leave(self, call_later: CallLater) -> None:
        """The same, nothing being under way: it may end as it likes."""
        flow = self._flow
        if flow is None:
            self.drop()
            return
        self._gone = True
        flow.write_eof()
        call_later(LINGER_S, flow.reset)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._head is not None and self._tunnel is None and not self._gone

    @property
    def is_unsent(self) -> bool:
        """Whether nothing of the request has left yet."""
        return self._flow is None and not self._gone

    def redial(self, destination: Destination) -> None:
        """Have what hasn't left yet go there instead."""
        if self._opening is not None:
            self._opening.cancel()
        self._opening = self._client.open_upstream(self, destination)

    def fall_silent(self) -> None:
        """Nobody knows when the destination will say something again, if ever."""
        if self.is_busy and not self._in_body:
            self._client.ask_elsewhere(self)

    # -- what the destination does -------------------------------------------------------------

    def opened(self, flow: Flow) -> None:
        """Connected."""
        self._flow = flow
        for data in self._early:
            flow.write(data)
        self._early.clear()
        self._client.upstream_opened()

    def open_failed(self, failure: OpenFailure) -> None:
        """Not connected."""
        self._gone = True
        self._client.upstream_failed(self, failure)

    def data_received(self, data: bytes) -> None:
        """A response, or a part of one."""
        if self._tunnel is not None:
            self._tunnel.data_received(data)
        elif self._gone:
            return
        elif self._head is None:
            # Nobody asked for anything: what it says can only be taken for the next answer.
            self._client.forget_upstream(self)
            self.drop()
        elif self._in_body:
            self._take_body(data)
        else:
            self._buffer += data
            self._take_heads()

    def eof_received(self) -> None:
        """It will say no more; on a connection that carries HTTP/1 that is its end."""
        if self._tunnel is not None:
            self._tunnel.eof_received()
            return
        if self._gone:
            return
        if self._in_body and self._body is not None and self._body.end():
            self._complete(reusable=False)
        else:
            self._lose(reset=False)

    def closed(self, *, reset: bool) -> None:
        """It is gone."""
        self._flow = None
        if self._tunnel is not None:
            self._tunnel.closed(reset=reset)
        elif not self._gone:
            self._lose(reset=reset)

    def pause_writing(self) -> None:
        """It takes no more."""
        if self._tunnel is not None:
            self._tunnel.pause_writing()
        elif not self._gone and self._head is not None:
            self._client.upstream_full(full=True)

    def resume_writing(self) -> None:
        """It does again."""
        if self._tunnel is not None:
            self._tunnel.resume_writing()
        elif not self._gone and self._head is not None:
            self._client.upstream_full(full=False)

    # -- a response ----------------------------------------------------------------------------

    def _take_heads(self) -> None:
        """Any number of interim ones, then the final one."""
        while self._buffer and self._head is not None and not self._in_body:
            try:
                end = find_head_end(self._buffer, self._scanned)
                if end is None:
                    self._scanned = len(self._buffer)
                    return
                head = _parse_answer(bytes(self._buffer[:end]), self._head)
                body = open_body(head)
            except BadMessage as error:
                self._fail(error.reason)
                return
            del self._buffer[:end]
            self._scanned = 0
            if head.status == 101:
                self._switch(head)
            elif head.status < 200:
                self._client.pass_interim(head)
            else:
                self._begin_response(head, body)

    def _switch(self, head: ResponseHead) -> None:
        assert self._flow is not None  # noqa: S101
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._client.forget_upstream(self)
        self._tunnel = self._client.switch(head, self._flow, rest)

    def _begin_response(self, head: ResponseHead, body: Body | None) -> None:
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._client.pass_head(head)
        self._keep_alive = head.keep_alive
        if body is None:
            self._complete(reusable=head.keep_alive and not rest)
            return
        self._body, self._in_body = body, True
        if rest:
            self._take_body(rest)

    def _take_body(self, data: bytes) -> None:
        body = self._body
        assert body is not None  # noqa: S101
        try:
            onward = body.feed(data)
        except BadMessage as error:
            self._fail(error.reason)
            return
        if onward:
            self._client.pass_body(onward)
        if body.done:
            self._complete(reusable=self._keep_alive and not body.excess)

    def _complete(self, *, reusable: bool) -> None:
        self._head, self._body, self._in_body = None, None, False
        self._client.pass_end(self, reusable=reusable)

    def _fail(self, reason: str) -> None:
        self._client.forget_upstream(self)
        self.drop()
        self._client.answer_is_bad(reason)

    def _lose(self, *, reset: bool) -> None:
        self._gone = True
        if self._flow is not None:
            self._flow.write_eof()
        self._client.upstream_lost(self, reset=reset)


def _parse_answer(raw: bytes, request: RequestHead) -> ResponseHead:
    head = parse_response_head(raw, request.method)
    if head.status == 101 and not request.upgrade:
        raise BadMessage("it changes the protocol unasked")
    return head
