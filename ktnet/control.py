"""Which sessions run on this machine: a socket each, which tells its state and ends it on demand.

A session listens on `<runtime directory>/sessions/<pid>.sock`; the directory is the registry. Who
asks sends one line of JSON, {"do": "status"}, {"do": "disconnect"} or what else the session can
do, and gets one back. Nobody but the same user and root is heard.
"""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ktnet.errors import (
    Conflict,
    HostPermissionError,
    KtnetError,
    NotFound,
    RemoteProtocolError,
)

MAX_REQUEST = 4096
MAX_REPLY = 1 << 20
"""Octets of a line; a reply lists what a session has to tell, which is some hundred octets now."""

REQUEST_TIME_S = 5.0
"""For a request to come in full once somebody has connected."""

REPLY_TIME_S = 2.0
"""For a session to answer: it does so from memory, so after this it is stopped or hangs."""

UNDO_TIME_S = 30.0
"""For a session to undo everything: deleting the Job waits for the API server."""

_SHORTAGE_PAUSE_S = 0.1
"""Before the next accept when there was no descriptor for a connection."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""From a request to its reply, both JSON objects; a KtnetError is told to who asked."""

_CREDENTIALS = struct.Struct("3i")
"""pid, uid, gid of struct ucred (unix(7), SO_PEERCRED)."""


IS_POSSIBLE = hasattr(socket, "SO_PEERCRED")
"""Whether the kernel says who asks, as Linux does. Elsewhere nobody is answered, and no session is
listed."""


# --- where the sockets are ---


def open_registry() -> Path:
    """The directory with the sessions' sockets, made where it was missing.

    /run/ktnet/sessions for root, else below $XDG_RUNTIME_DIR, else /tmp/ktnet-<uid>/sessions.
    Raises HostPermissionError where it belongs to somebody else, or others may write to it.
    """
    registry = runtime_directory() / "sessions"
    for directory in (registry.parent, registry):
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            found = directory.lstat()
        except OSError as error:
            raise HostPermissionError(
                f"the runtime directory {directory} can't be used: {error.strerror}"
            ) from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o22:
            raise HostPermissionError(
                f"{directory} is not a directory that only this user can write to",
                hint=f"see who made it, then remove it: ls -ld {directory}",
            )
    return registry


def runtime_directory() -> Path:
    """Where this user's sessions keep what must not outlive a boot; may not exist yet."""
    uid = os.geteuid()
    if uid == 0:
        return Path("/run/ktnet")
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    # After `su`, the variable may still name the directory of another user.
    with suppress(OSError):
        if base.startswith("/") and Path(base).stat().st_uid == uid:
            return Path(base, "ktnet")
    return Path(f"/tmp/ktnet-{uid}")  # noqa: S108  open_registry refuses what isn't ours alone


@contextmanager
def _locked(registry: Path) -> Iterator[None]:
    """Keep others from adding and removing sockets meanwhile."""
    import fcntl  # noqa: PLC0415  not everywhere, and where it isn't nobody gets here

    descriptor = os.open(registry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# --- the session's side ---


@asynccontextmanager
async def open_control(
    describe: Callable[[], dict[str, Any]],
    disconnect: Callable[[], None],
    handlers: Mapping[str, Handler] | None = None,
) -> AsyncIterator[None]:
    """Let this process be found as a session until the context is left.

    `describe()` is what `status` shows, JSON values under at least "command", "namespace", "state"
    and "since"; "pid" is added. `disconnect()` must only set the end going: who asked is kept
    waiting until the process has ended. `handlers` are further requests, by what "do" says.
    Raises HostPermissionError or Conflict.
    """
    import asyncio  # noqa: PLC0415  30 ms, which those who only ask should not pay

    path = open_registry() / f"{os.getpid()}.sock"

    async def serve(listener: socket.socket) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                except OSError:
                    await asyncio.sleep(_SHORTAGE_PAUSE_S)
                else:
                    group.create_task(serve_one(connection))

    async def serve_one(connection: socket.socket) -> None:
        with connection:
            if read_peer(connection)[1] not in (0, os.geteuid()):
                return
            connection.setblocking(False)
            with suppress(OSError, RemoteProtocolError):  # TimeoutError is an OSError
                async with asyncio.timeout(REQUEST_TIME_S):
                    request = await receive_request(connection)
                handler = (handlers or {}).get(request["do"])
                if request["do"] == "status":
                    await reply(connection, {**describe(), "pid": os.getpid()})
                elif handler is not None:
                    await reply(connection, await handled(handler, request))
                else:
                    disconnect()
                    await reply(connection, {"ok": True})
                    await asyncio.Event().wait()  # its end, with the session, tells the asker

    async def handled(handler: Handler, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await handler(request)
        except KtnetError as error:
            return {"error": error.message, "hint": error.hint}

    async def reply(connection: socket.socket, value: dict[str, Any]) -> None:
        async with asyncio.timeout(REQUEST_TIME_S):
            line = json.dumps(value).encode() + b"\n"
            await asyncio.get_running_loop().sock_sendall(connection, line)

    async def receive_request(connection: socket.socket) -> dict[str, Any]:
        line = b""
        while b"\n" not in line and len(line) <= MAX_REQUEST:
            part = await asyncio.get_running_loop().sock_recv(connection, MAX_REQUEST)
            if not part:
                break
            line += part
        return _parse_request(line, {"status", "disconnect", *(handlers or {})})

    with _open_listener(path) as listener:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve(listener))
            try:
                yield
            finally:
                serving.cancel()


@contextmanager
def _open_listener(path: Path) -> Iterator[socket.socket]:
    """A listening socket at `path` that only this user can connect to; the file goes with it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        with _locked(path.parent):
            if path.exists() and not _remove_if_dead(path):
                raise Conflict(f"another session of this machine answers at {path}")
            try:
                listener.bind(str(path))
                path.chmod(0o600)
                listener.listen(8)
            except OSError as error:
                raise HostPermissionError(
                    f"the control socket {path} can't be made: {error.strerror or error}"
                ) from error
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError), _locked(path.parent):
                path.unlink(missing_ok=True)


def _parse_request(line: bytes, known: Collection[str]) -> dict[str, Any]:
    """The request in a line. Raises RemoteProtocolError where "do" is none of the known."""
    request, newline, rest = line.partition(b"\n")
    message = _parse_object(request) if newline and not rest and len(line) <= MAX_REQUEST else {}
    wanted = message.get("do")
    if not isinstance(wanted, str) or wanted not in known:
        raise RemoteProtocolError("a control request is none that this session knows")
    return message


def _parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object in a line. Raises RemoteProtocolError where it is something else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"a control line is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError("a control line is no JSON object")
    return value


def read_peer(connection: socket.socket) -> tuple[int, int]:
    """pid and uid of the process at the other end; pid 0 where it isn't visible from here."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


# --- the side that asks ---


def list_sessions() -> list[dict[str, Any]]:
    """What each session of this user says of itself, by pid; sockets of dead ones are removed.

    A session that doesn't answer is listed with the state "not answering".
    """
    if not IS_POSSIBLE or not runtime_directory().exists():
        return []
    paths = [path for path in open_registry().glob("*.sock") if path.stem.isdecimal()]
    sessions = [session for path in paths if (session := _ask_status(path)) is not None]
    return sorted(sessions, key=lambda session: int(session["pid"]))


def disconnect(session: dict[str, Any], *, timeout_s: float = UNDO_TIME_S) -> None:
    """End a session of `list_sessions` and wait until its process has ended.

    One that is gone already is fine. Raises KtnetError where it doesn't answer, or isn't done
    within `timeout_s` seconds.
    """
    pid = int(session["pid"])
    deadline_s = time.monotonic() + timeout_s
    try:
        connection = _connect(open_registry() / f"{pid}.sock")
        if connection is None:
            return
        with connection, _open_process(read_peer(connection)[0]) as process:
            # An error other than a timeout means that it is ending already.
            with suppress(ConnectionError, RemoteProtocolError):
                ask(connection, {"do": "disconnect"})
            ended = _wait_readable(connection.fileno(), deadline_s)
            if ended and process is not None:
                ended = _wait_readable(process, deadline_s)
    except TimeoutError as error:
        raise KtnetError(
            f"the session with pid {pid} does not answer", hint=f"end it with: kill {pid}"
        ) from error
    if not ended:
        raise KtnetError(
            f"the session with pid {pid} has not undone everything after {timeout_s:.0f} s",
            hint="it goes on; see ktnet status",
        )


def ask_session(
    session: dict[str, Any], request: dict[str, Any], *, timeout_s: float
) -> dict[str, Any]:
    """Has a session of `list_sessions` do something, and returns its reply.

    Raises KtnetError where it refuses, knows no such request or doesn't answer.
    """
    pid = int(session["pid"])
    try:
        connection = _connect(open_registry() / f"{pid}.sock")
        if connection is None:
            raise NotFound(f"the session with pid {pid} has just ended")
        with connection:
            connection.settimeout(timeout_s)
            reply = ask(connection, request)
    except (TimeoutError, ConnectionError, RemoteProtocolError) as error:
        raise KtnetError(
            f"the session with pid {pid} does not answer", hint="see ktnet status"
        ) from error
    if "error" in reply:
        raise KtnetError(str(reply["error"]), hint=str(reply.get("hint", "")))
    return reply


def _ask_status(path: Path) -> dict[str, Any] | None:
    """The status of the session with this socket; None where there is none any more."""
    pid = int(path.stem)
    try:
        connection = _connect(path)
        if connection is None:
            return None
        with connection:
            return {**ask(connection, {"do": "status"}), "pid": pid}
    except TimeoutError:
        return {"pid": pid, "command": "", "namespace": "", "state": "not answering"}
    except (ConnectionError, RemoteProtocolError):
        return None


def _connect(path: Path) -> socket.socket | None:
    """A connection to a session's socket; None where nobody listens any more.

    Raises TimeoutError where its queue stays full, HostPermissionError where we may not.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(REPLY_TIME_S)
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        with _locked(path.parent):
            _remove_if_dead(path)
        return None
    except OSError as error:
        connection.close()
        if isinstance(error, TimeoutError):
            raise
        raise HostPermissionError(f"{path} can't be connected to: {error}") from error
    return connection


def _remove_if_dead(path: Path) -> bool:
    """Remove a socket that nobody listens on; True where it is gone. The registry is locked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(REPLY_TIME_S)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
            return True
        except OSError:
            return False
    return False


def ask(
    connection: socket.socket, request: dict[str, Any], *, deadline_s: float = float("inf")
) -> dict[str, Any]:
    """Send a request and read the reply's line, until `deadline_s` by the clock that only goes
    forward; each part has the connection's own time-out.

    Raises RemoteProtocolError for garbage and for an early end, ConnectionError, TimeoutError.
    """
    connection.sendall(json.dumps(request).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        if time.monotonic() > deadline_s:
            raise TimeoutError
        part = connection.recv(65536)
        if not part or len(line) > MAX_REPLY:
            raise RemoteProtocolError("a session gave no reply")
        line += part
    return _parse_object(line)


@contextmanager
def _open_process(pid: int) -> Iterator[int | None]:
    """A descriptor of the process, which stays its own though the pid may be used again.

    None where it has ended, and for pid 0, which is what a process of another pid namespace has.
    """
    try:
        descriptor = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _wait_readable(descriptor: int, deadline_s: float) -> bool:
    """Wait for the end of a connection, or of a process (pidfd_open(2)); False where it is late."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000))
