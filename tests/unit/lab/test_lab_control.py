"""The lab's control socket: requests, refusals, garbage."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from ktnet.errors import NotFound, RemoteProtocolError
from ktnet.lab.control import ask, build_answer, open_control


def refuse(_: dict[str, Any]) -> None:
    raise ValueError("no such fault")


HANDLERS = {"echo": lambda request: request["what"], "refuse": refuse}


def test_requests_over_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def run() -> None:
        async with open_control(path, HANDLERS):
            assert path.stat().st_mode & 0o777 == 0o600
            request = {"do": "echo", "what": [1, {"x": None}]}
            assert await asyncio.to_thread(ask, path, request) == [1, {"x": None}]
            with pytest.raises(RemoteProtocolError, match="no such fault"):
                await asyncio.to_thread(ask, path, {"do": "refuse"})
            assert await asyncio.to_thread(send_garbage, path) == (
                b'{"error": "a request is a JSON object"}\n'
            )

    asyncio.run(run())
    with pytest.raises(NotFound):
        ask(path, {"do": "echo"})


def send_garbage(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"[]\n")
        return client.recv(100)


@pytest.mark.parametrize(
    "line", [b"", b"\xff\xfe\n", b"{", b"1", b'{"do": 7}', b'{"do": "nothing"}', b"[" * 100_000]
)
def test_garbage_is_answered_by_an_error(line: bytes) -> None:
    assert set(asyncio.run(build_answer(line, HANDLERS))) == {"error"}
