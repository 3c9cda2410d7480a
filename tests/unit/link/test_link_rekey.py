"""Keys are renewed in the middle of everything, again and again, and nobody notices."""

from __future__ import annotations

import asyncio
import hashlib

from tunnel_ends import echo, open_flow, open_target, open_tunnel, run

from ktnet.wire.shadow import PROBE_HOST

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

    run(scenario())


def test_an_answer_on_its_way_when_new_keys_are_asked_for(monkeypatch):
    """The shadow's own echo answers within the turn in which the request to renew keys comes."""
    monkeypatch.setattr("asyncssh.connection._DEFAULT_REKEY_BYTES", 1 << 18)

    async def scenario():
        async with open_tunnel() as (link, _):
            receivers = [open_flow(link, 1, PROBE_HOST) for _ in range(4)]
            async with asyncio.TaskGroup() as group:
                for n, receiver in enumerate(receivers):
                    group.create_task(upload(receiver, bytes([n]) * 10_000, SIZE_BYTES // 4))
            for n, receiver in enumerate(receivers):
                assert await receiver.until_closed() == "end"
                assert receiver.data == bytes([n]) * (SIZE_BYTES // 4 // 10_000 * 10_000)
            assert link.closed is None

    run(scenario())


async def upload(receiver, piece, size_bytes=SIZE_BYTES):
    flow = await receiver.until_open()
    for _ in range(size_bytes // len(piece)):
        await receiver.until(lambda r: not r.paused)
        flow.write(piece)
        await asyncio.sleep(0)
    flow.write_eof()
