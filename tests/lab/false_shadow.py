"""A pod that isn't what it should be: `python false_shadow.py KIND ARGUMENTS-OF-A-SHADOW`.

Each kind says a host key as a shadow does. Then "other-key" shows another one, "other-version"
speaks another version of the protocol, "garbage" answers with bytes that mean nothing, "ended" ends
each connection at once; "crash" ends by itself before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

os.environ["PATH"] = "/nonexistent"  # as `ktnet.shadow.__main__` has it, before asyncssh is there

from ktnet.shadow import process
from ktnet.shadow.hostkey import build_public_key, new_host_key
from ktnet.wire import shadow as agreement

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def give_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A greeting, so that the client goes on, and then anything."""
    writer.write(b"SSH-2.0-ktnet_0\r\n" + b"\xff" * 4096 + os.urandom(65536))
    await reader.read()
    writer.close()


async def end_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Behind the client's greeting: what isn't read would be answered by a reset."""
    await reader.readline()
    writer.close()


async def serve(handle: Handle) -> None:
    # The first process of a container isn't ended by a signal that it doesn't handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    async with await asyncio.start_server(handle, "127.0.0.1", agreement.SSH_PORT) as server:
        print(agreement.build_host_key_line(build_public_key(new_host_key())), flush=True)
        await server.serve_forever()


def main(kind: str) -> int:
    if kind == "crash":
        return 3
    if kind in ("garbage", "ended"):
        asyncio.run(serve({"garbage": give_garbage, "ended": end_at_once}[kind]))
    elif kind == "other-version":
        agreement.PROTOCOL_VERSION = 999
    elif kind == "other-key":
        line = agreement.build_host_key_line(build_public_key(new_host_key()))
        process.build_host_key_line = lambda _: line
    return process.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv.pop(1)))
