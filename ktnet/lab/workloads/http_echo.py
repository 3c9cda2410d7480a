"""An HTTP server that says who it is and what it was asked, as JSON, on port 8080.

{"hostname", "client": "address:port", "method", "path", "headers": {name: value}, "body_bytes"}.
Connections are kept alive; one line per request goes to the log.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import sys
import threading

PORT = 8080
MOST_HEADER_BYTES = 65536


def main() -> None:
    """Serves until SIGTERM."""
    # As pid 1 of its container it would ignore the signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.stack_size(256 * 1024)
    with socket.create_server(("", PORT), backlog=1024) as server:
        print(f"listening on {PORT}", flush=True)
        while True:
            connection, client = server.accept()
            threading.Thread(target=serve, args=(connection, client), daemon=True).start()


def serve(connection: socket.socket, client: tuple[str, int]) -> None:
    """Answers every request of one connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection, connection.makefile("rb") as requests:
            while answer_one(requests, connection, f"{client[0]}:{client[1]}"):
                pass
    except (OSError, ValueError) as error:
        print(f"{client[0]}:{client[1]} {error!r}", file=sys.stderr, flush=True)


def answer_one(requests: io.BufferedReader, connection: socket.socket, client: str) -> bool:
    """Reads a request and answers it; whether another one may follow."""
    first = requests.readline(MOST_HEADER_BYTES)
    if not first.strip():
        return False
    method, path, version = first.decode("latin-1").split()
    headers = read_headers(requests)
    lower = {name.lower(): value for name, value in headers.items()}
    length = int(lower.get("content-length", "0"))
    left = length
    while left > 0:
        piece = requests.read(min(left, 1 << 20))
        if not piece:
            return False
        left -= len(piece)
    keep = version == "HTTP/1.1" and lower.get("connection", "").lower() != "close"
    answer = {
        "hostname": socket.gethostname(),
        "client": client,
        "method": method,
        "path": path,
        "headers": headers,
        "body_bytes": length,
    }
    body = json.dumps(answer).encode() + b"\n"
    head = (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    connection.sendall(head.encode() + (b"" if method == "HEAD" else body))
    print(f"{client} {method} {path}", flush=True)
    return keep


def read_headers(requests: io.BufferedReader) -> dict[str, str]:
    """The header fields of a request, as they were spelt."""
    headers: dict[str, str] = {}
    for _ in range(100):
        line = requests.readline(MOST_HEADER_BYTES)
        if line in {b"\r\n", b"\n", b""}:
            return headers
        name, _, value = line.decode("latin-1").partition(":")
        headers[name] = value.strip()
    raise ValueError("too many header fields")


if __name__ == "__main__":
    main()
