"""The seam between a flow's bytes and whatever carries them.

`capture` (packets) and `link` (SSH) never import each other: both know only these types, and
`session` hands one to the other. All calls happen on one event loop, never from within a call
in the other direction: a carrier delivers on a later turn of the loop than the call that
caused it.

Life of a flow, seen by the `Receiver`: `opened` or `open_failed` (then nothing more); after
`opened` any number of `data_received`, at most one `eof_received`, exactly one `closed`.
"""

from __future__ import annotations

import enum
from typing import Protocol


class OpenFailure(enum.Enum):
    """Why a flow could not be opened.

    The value is the reason code of SSH_MSG_CHANNEL_OPEN_FAILURE that carries it, from the range
    that RFC 4254 section 5.1 leaves for private use (0xFE000000 to 0xFFFFFFFF).
    """

    REFUSED = 0xFE000001
    """The target answered with a reset: nothing listens there (ECONNREFUSED)."""
    HOST_UNREACHABLE = 0xFE000002
    """EHOSTUNREACH at the far side."""
    NETWORK_UNREACHABLE = 0xFE000003
    """ENETUNREACH at the far side."""
    TIMED_OUT = 0xFE000004
    """Nobody answered there: to be met with silence here."""
    PROHIBITED = 0xFE000005
    """The far side may not connect there (EACCES, EPERM, its own policy)."""
    SHORTAGE = 0xFE000006
    """The far side lacks descriptors, ports or memory at the moment."""
    UNKNOWN_NAME = 0xFE000007
    """The target was a name, and it did not resolve."""
    TUNNEL_DOWN = 0xFE000008
    """Never on the wire: there is no far side at the moment."""


class Receiver(Protocol):
    """The near side of a flow, told what the far side does."""

    def opened(self, flow: Flow) -> None:
        """The far side has connected."""

    def open_failed(self, failure: OpenFailure) -> None:
        """The far side could not connect."""

    def data_received(self, data: bytes) -> None:
        """Bytes from the far side, in order; never empty.

        A receiver whose class says `takes_views = True` is spared a copy: it may get a memoryview
        instead, which is valid until this returns.
        """

    def eof_received(self) -> None:
        """The far side will send no more; it still reads."""

    def closed(self, *, reset: bool) -> None:
        """The flow is over: in an orderly way (EOF both ways), or by a reset or a lost carrier."""

    def pause_writing(self) -> None:
        """The carrier has enough to send: hold back until `resume_writing`."""

    def resume_writing(self) -> None:
        """The carrier takes bytes again."""


class Flow(Protocol):
    """The carrier's side of an open flow."""

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes to the far side; the carrier is done with the buffer when this returns."""

    def write_eof(self) -> None:
        """Send no more, go on reading; after EOF both ways the carrier closes by itself."""

    def reset(self) -> None:
        """Tear the flow down at once; the far side sees a reset. `closed` is not called."""

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading` (what is on its way may still come)."""

    def resume_reading(self) -> None:
        """Deliver again."""


class Opening(Protocol):
    """A flow that is being opened."""

    def cancel(self) -> None:
        """Give up: the receiver hears nothing more, and a late success is closed again."""


class Dialer(Protocol):
    """Opens flows to the far side."""

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """Have the far side connect to host:port (TCP); `origin` is who asks, for its log.

        Never raises for what the network does: `receiver.open_failed` says it.
        """
