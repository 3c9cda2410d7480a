"""Every error that ktnet raises on purpose, with its exit code and its hint.

A command prints one line (the message) and a hint, and exits with `exit_code`; anything that
is not a `KtnetError` is a bug and shows a traceback. The exit codes are part of the command
line's contract and are listed in the README.
"""

from __future__ import annotations


class KtnetError(Exception):
    """Base of all errors that are not bugs: a message, and optionally what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KtnetError):
    """A flag, an argument or a configuration file is wrong."""

    exit_code = 2


class HostPermissionError(KtnetError):
    """This process lacks a right on this machine (NET_ADMIN, /dev/net/tun, a file)."""

    exit_code = 3


class ClusterUnreachable(KtnetError):
    """The API server can't be reached, or doesn't accept who we are (401)."""

    exit_code = 4


class Forbidden(KtnetError):
    """The API server knows us and says no (403): names verb, resource and namespace."""

    exit_code = 5


class ShadowFailed(KtnetError):
    """The shadow pod did not start: image, scheduling, admission, quota, crash."""

    exit_code = 6


class TunnelError(KtnetError):
    """The tunnel could not be made, or broke."""

    exit_code = 7


class RemoteProtocolError(TunnelError):
    """The other side sent bytes that are not what the protocol allows: their fault."""


class HostKeyMismatch(TunnelError):
    """The shadow showed another host key than the pinned one."""


class LocalProtocolError(KtnetError):
    """We were about to send what the protocol does not allow: our fault, a bug."""


class HostNetworkError(KtnetError):
    """Links, addresses, routes or rules of this machine could not be changed or restored."""

    exit_code = 8


class CaptureRefused(HostNetworkError):
    """These routes would take from this machine what is its own; nothing was changed."""


class DnsError(KtnetError):
    """The DNS proxy or the host's resolver could not be set up, or an upstream failed."""

    exit_code = 9


class Conflict(KtnetError):
    """Somebody else holds what we need."""

    exit_code = 10


class NotFound(KtnetError):
    """The object that the user named does not exist."""

    exit_code = 11


class Interrupted(KtnetError):
    """The user ended the command before it was ready."""

    exit_code = 130
