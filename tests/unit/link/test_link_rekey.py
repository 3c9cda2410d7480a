"""Keys are renewed in the middle of everything, again and again, and nobody notices."""

from __future__ import annotations

import asyncio
import hashlib

from tunnel_ends import echo, open_flow, open_target, open_tunnel, run

SIZE_BYTES = 8 << 20


def test_renewing_keys_under_load_in_both_directions(monkeypatch):
    monkeypatch.setattr("asyncssh.connection._DEFAULT_REKEY_BYTES", 1 << 20)

    async def scenario():
        async with open_tunnel() as (link, _), open_target(echo) as port:
            connection = link._connection
            kexinits = []
            send_kexinit = connection._send_kexinit

            def count_and_send():
                kexinits.append(1)
                send_kexinit()

            connection._send_kexinit = count_and_send
            receivers = [open_flow(link, port) for _ in range(4)]
            async with asyncio.TaskGroup() as group:
                for n, receiver in enumerate(receivers):
                    group.create_task(upload(receiver, bytes([n]) * 32768))
            assert link.closed is None
            assert len(kexinits) >= 4
            for n, receiver in enumerate(receivers):
                assert await receiver.until_closed() == "end"
                expected = hashlib.sha256(bytes([n]) * SIZE_BYTES).digest()
                assert hashlib.sha256(receiver.data).digest() == expected

    async def upload(receiver, piece):
        flow = await receiver.until_open()
        for _ in range(SIZE_BYTES // len(piece)):
            await receiver.until(lambda r: not r.paused)
            flow.write(piece)
            await asyncio.sleep(0)
        flow.write_eof()

    run(scenario())
