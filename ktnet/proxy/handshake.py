"""What the two protocols have in common: a client says where it wants to go. Pure."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Protocol

from ktnet.wire.flow import OpenFailure


@dataclass(frozen=True, slots=True)
class Request:
    """Where a client wants to go."""

    host: str
    """A name, or an address."""
    port: int
    first: bytes = b""
    """What the target is to be sent before anything that the client sends from now on."""


class Refused(Exception):
    """The client gets `answer`, and its connection ends. Stays within the proxy."""

    def __init__(self, reason: str, answer: bytes) -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may use the proxy."""

    user: str
    password: str

    def accept(self, user: bytes, password: bytes) -> bool:
        """Whether these are they; how long that takes tells nothing."""
        same_user = hmac.compare_digest(user, self.user.encode())
        same_password = hmac.compare_digest(password, self.password.encode())
        return same_user and same_password


class Handshake(Protocol):
    """One client's, from its first byte on."""

    request: Request | None
    """Once the client has said it."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the client; what to answer. Raises Refused."""

    def accept(self) -> bytes:
        """The target is connected: what the client is told."""

    def refuse(self, failure: OpenFailure) -> bytes:
        """It is not: what the client is told."""
