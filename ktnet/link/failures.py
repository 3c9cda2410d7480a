"""What asyncssh raises, in ktnet's words: which error, and what to do about it."""

from __future__ import annotations

import asyncssh

from ktnet.errors import HostKeyMismatch, KtnetError, RemoteProtocolError, TunnelError

_LOST_HINT = "connect again; where it breaks again, `kubectl get events` may say why"


def build_login_error(error: Exception) -> KtnetError:
    """Why the SSH connection could not be made."""
    if isinstance(error, KtnetError):
        return error
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return HostKeyMismatch(
            "the shadow shows another host key than the one in its log",
            hint="something between here and the pod may be reading along; "
            "where the pod has just been restarted, try again",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return TunnelError(
            "the shadow does not accept this session's key",
            hint="its pod belongs to another session, or its spec was changed",
        )
    if isinstance(error, TimeoutError):
        return TunnelError("the shadow did not answer in time")
    if isinstance(error, asyncssh.ConnectionLost | OSError):
        return TunnelError(f"cannot log in to the shadow: {error}")
    # Beside its own errors, asyncssh lets through whatever its parsers trip over.
    return RemoteProtocolError(f"what answered is not a shadow: {_describe(error)}")


def build_loss(error: Exception | None) -> TunnelError:
    """Why an SSH connection that was up is no more; None: the shadow said goodbye."""
    if error is None:
        return TunnelError("the shadow closed the connection", hint=_LOST_HINT)
    # All that is in asyncssh's own "Connection lost" is that much.
    if isinstance(error, asyncssh.ConnectionLost) and str(error) == "Connection lost":
        return TunnelError("the connection to the shadow is lost", hint=_LOST_HINT)
    if isinstance(error, KtnetError | asyncssh.ConnectionLost | OSError):
        return TunnelError(f"the connection to the shadow is lost: {error}", hint=_LOST_HINT)
    if isinstance(error, asyncssh.DisconnectError):
        return RemoteProtocolError(f"the shadow broke the protocol: {error}")
    return TunnelError(f"the connection to the shadow failed: {_describe(error)}")


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, asyncssh.Error) else repr(error)
