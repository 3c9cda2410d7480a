"""One end of HTTP/2, and one direction of a stream between two of them.

What comes in on a stream is acknowledged (RFC 9113 section 6.9) only when it has gone on, so the
slower side sets the pace of each stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from ktnet.shadow.router.goaway import Goaway, GoawayFilter
from ktnet.shadow.router.sniff import HTTP2_PREFACE
from ktnet.wire.flow import Flow

STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 4 * 1024 * 1024
"""Octets that may wait here for a slow destination: of one stream, and of all of a client's."""

MAX_STREAMS = 1000
MAX_HEADER_BYTES = 64 * 1024

Headers = list[tuple[bytes, bytes]]


class End:
    """One end of HTTP/2: the library's state machine and the flow below it."""

    def __init__(self, *, client_side: bool) -> None:
        # What comes in is checked; what goes out has been checked when it came in.
        self.h2 = H2Connection(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        # Replaced, not updated: what is changed later is not in the first SETTINGS frame.
        self.h2.local_settings = Settings(
            client=client_side,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
                SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW)
        self.flow: Flow | None = None
        self.full = False
        self.outlets: dict[int, Outlet] = {}
        self._filter = GoawayFilter(0 if client_side else len(HTTP2_PREFACE))

    def read(self, data: bytes) -> list[Event | Goaway]:
        """What came in. H2Error: it was no HTTP/2, and the answer to that is ready to be sent."""
        events: list[Event | Goaway] = []
        for part in self._filter.feed(data):
            events += [part] if isinstance(part, Goaway) else self.h2.receive_data(part)
        return events

    def flush(self) -> None:
        """Send what is ready."""
        if self.flow is not None and (data := self.h2.data_to_send()):
            self.flow.write(data)

    def take_room(self, event: Event | Goaway) -> None:
        """Send what the other side has made room for."""
        if isinstance(event, WindowUpdated):
            self.window_opened(event.stream_id or 0)
        elif isinstance(event, RemoteSettingsChanged):
            self.window_opened(0)  # RFC 9113 section 6.9.2: of all streams at once

    def window_opened(self, stream: int) -> None:
        """The other side takes more: of this stream, or (0) of all."""
        chosen = [self.outlets.get(stream)] if stream else list(self.outlets.values())
        for outlet in chosen:
            if outlet is not None:
                outlet.pump()

    def reset_stream(self, stream: int, error_code: int) -> None:
        """End a stream, where it hasn't ended by itself."""
        self.outlets.pop(stream, None)
        try:
            self.h2.reset_stream(stream, error_code)
        except H2Error:
            return


class Outlet:
    """One direction of a stream: what has come of it and waits to be sent on."""

    def __init__(
        self,
        source: End,
        source_stream: int,
        sink: End,
        sink_stream: int,
        on_end: Callable[[], object],
    ) -> None:
        """`on_end` is called when all of it has been sent."""
        self._source, self._source_stream = source, source_stream
        self._sink, self._sink_stream = sink, sink_stream
        self._on_end = on_end
        self._waiting: deque[tuple[memoryview, int]] = deque()
        self._trailers: Headers | None = None
        self._ending = False
        self.ended = False

    def push(self, data: bytes, cost: int) -> None:
        """`cost` is what it took of the source's window: with the padding."""
        self._waiting.append((memoryview(data), cost))
        self.pump()

    def finish(self, trailers: Headers | None = None) -> None:
        """Nothing more will come."""
        if trailers is not None:
            self._trailers = trailers
        self._ending = True
        self.pump()

    def skip(self) -> None:
        """The headers were all there is."""
        self._ending = True
        self._end()

    def pump(self) -> None:
        """Send as much as the sink takes; acknowledge to the source what has gone."""
        h2, stream = self._sink.h2, self._sink_stream
        while self._waiting and not self._sink.full:
            data, cost = self._waiting[0]
            room = min(h2.local_flow_control_window(stream), h2.max_outbound_frame_size)
            if room <= 0 < len(data):
                return
            part, rest = data[:room], data[room:]
            last = self._ending and not rest and len(self._waiting) == 1 and not self._trailers
            h2.send_data(stream, bytes(part), end_stream=last)
            if rest:
                self._waiting[0] = (rest, cost - len(part))
                self._acknowledge(len(part))
                continue
            self._waiting.popleft()
            self._acknowledge(cost)
            if last:
                self._end()
                return
        if self._ending and not self._waiting and not self.ended:
            if self._trailers:
                h2.send_headers(stream, self._trailers, end_stream=True)
            else:
                h2.end_stream(stream)
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._sink.outlets.pop(self._sink_stream, None)
        self._on_end()

    def _acknowledge(self, octets: int) -> None:
        if octets:
            try:
                self._source.h2.acknowledge_received_data(octets, self._source_stream)
            except H2Error:
                return  # the stream is closed there, and its window with it
