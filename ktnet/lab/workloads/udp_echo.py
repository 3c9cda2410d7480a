"""Sends every UDP datagram back to where it came from (RFC 862), on port 7."""

from __future__ import annotations

import os
import signal
import socket
import sys

PORT = 7
MOST_BYTES = 65535


def main() -> None:
    """Serves until SIGTERM."""
    # As pid 1 of its container it would ignore the signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", PORT))
        print(f"listening on {PORT}/udp", flush=True)
        while True:
            data, client = server.recvfrom(MOST_BYTES)
            try:
                server.sendto(data, client)
            except OSError as error:
                print(f"{client}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
