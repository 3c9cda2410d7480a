"""The lab's control socket: JSON objects, one a line, from `ktnet lab` to the daemon and back.

{"do": "status"} is answered by one line, {"ok": ...} or {"error": "..."}. Root only, by the
rights of the directory that it lies in.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ktnet.errors import NotFound, RemoteProtocolError

LONGEST_LINE = 2**24
TIMEOUT_S = 10.0

Handler = Callable[[dict[str, Any]], Any]
"""From a request to what JSON can say, at once or awaited; raises ValueError for a request that
makes no sense."""


@asynccontextmanager
async def open_control(path: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answers requests on a Unix socket at `path`, by the handler that "do" names."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await build_answer(line, handlers)).encode() + b"\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=LONGEST_LINE)
    try:
        path.chmod(0o600)
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def build_answer(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    """The answer to a request line; never raises for what the line holds."""
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            return {"error": "a request is a JSON object"}
        handler = handlers.get(str(request.get("do")))
        if handler is None:
            return {"error": f"nothing is called {request.get('do')!r} here"}
        answer = handler(request)
        return {"ok": await answer if inspect.isawaitable(answer) else answer}
    except (ValueError, RecursionError) as error:
        return {"error": str(error)}


def ask(path: Path, request: dict[str, Any]) -> Any:
    """Sends one request to a lab's daemon and returns its answer (blocking).

    Raises NotFound where nobody listens, RemoteProtocolError where the daemon refuses.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(LONGEST_LINE)
        except OSError as error:
            raise NotFound(
                f"no lab answers at {path}: {error}", hint="ktnet lab up starts one"
            ) from error
    if not line.endswith(b"\n"):
        raise RemoteProtocolError("the lab's daemon ended in the middle of its answer")
    answer = json.loads(line)
    if "error" in answer:
        raise RemoteProtocolError(f"the lab's daemon says: {answer['error']}")
    return answer["ok"]
