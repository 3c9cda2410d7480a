"""On the wire it is plain SSH: OpenSSH's client works through the shadow."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import socket
import subprocess

import pytest
from tunnel_ends import echo, open_shadow, open_target, run, until

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client here")

SIZE_BYTES = 4 << 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.asynccontextmanager
async def openssh(ends, tmp_path, *options):
    """ssh with exactly the shadow's host key and the client's key, attached; yields the process."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(ends.client_key.export_private_key())
    (tmp_path / "known").write_text(f"[127.0.0.1]:{ends.port} {ends.host_key}\n")
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-F", "none", "-i", str(key), "-p", str(ends.port), "-o", "BatchMode=yes"),
        *("-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"),
        *("-o", f"UserKnownHostsFile={tmp_path / 'known'}", "-o", "GlobalKnownHostsFile=none"),
        *options,
        "ktnet@127.0.0.1",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def connect(port):
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)  # ssh does not listen yet


@pytest.mark.parametrize("rekey", ["default", "1M"])
def test_local_forwarding_echoes_and_ends(tmp_path, rekey):
    async def scenario():
        local = free_port()
        async with open_shadow() as ends, open_target(echo) as port:
            forward = (
                "-N",
                "-L",
                f"127.0.0.1:{local}:127.0.0.1:{port}",
                "-o",
                f"RekeyLimit={rekey}",
            )
            async with openssh(ends, tmp_path, *forward):
                reader, writer = await connect(local)
                sent = hashlib.sha256()

                async def send():
                    for n in range(SIZE_BYTES // 65536):
                        writer.write(bytes([n]) * 65536)
                        sent.update(bytes([n]) * 65536)
                        await writer.drain()
                    writer.write_eof()

                async with asyncio.TaskGroup() as group:
                    group.create_task(send())
                    received = await reader.read()
                    while more := await reader.read(1 << 20):
                        received += more
                assert len(received) == SIZE_BYTES
                assert hashlib.sha256(received).digest() == sent.digest()
                writer.close()
                await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_a_refused_target_fails_the_forwarded_connection_only(tmp_path):
    async def scenario():
        local, nobody = free_port(), free_port()
        async with open_shadow() as ends:
            forward = ("-N", "-L", f"127.0.0.1:{local}:127.0.0.1:{nobody}")
            async with openssh(ends, tmp_path, *forward) as process:
                reader, writer = await connect(local)
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
                assert process.returncode is None
                assert ends.shadow.attendance.attached == 1

    run(scenario())


def test_no_command_is_run(tmp_path):
    async def scenario():
        async with open_shadow() as ends, openssh(ends, tmp_path, "-T") as process:
            output, errors = await process.communicate()
            assert process.returncode == 255
            assert output == b""
            assert b"request failed" in errors

    run(scenario())
