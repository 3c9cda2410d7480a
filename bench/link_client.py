"""ktnet's SSH leg alone: a link to a shadow, and local ports that lead through it. No cluster.

python bench/link_client.py SHADOW_HOST SHADOW_PORT HOST_KEY KEY_FILE LOCAL:HOST:PORT ...
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import asyncssh

from ktnet.link.connection import open_link
from ktnet.stream.garbage import spare_what_stays
from ktnet.stream.limits import raise_descriptor_limit
from ktnet.stream.listener import open_listener
from ktnet.stream.loop import run as run_loop


async def run(host: str, port: int, host_key: str, key_file: str, forwards: list[str]) -> None:
    async def dial(factory):
        return await asyncio.get_running_loop().create_connection(factory, host, port)

    key = asyncssh.import_private_key(Path(key_file).read_text())
    async with open_link(dial, client_key=key, host_key=host_key) as link, AsyncExitStack() as all_:
        for forward in forwards:
            local, target, target_port = forward.split(":")
            listener = open_listener("127.0.0.1", int(local), link, (target, int(target_port)))
            await all_.enter_async_context(listener)
        print("ready", flush=True)
        raise await link.wait_closed()


if __name__ == "__main__":
    raise_descriptor_limit()
    spare_what_stays()
    run_loop(run(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], sys.argv[5:]))
