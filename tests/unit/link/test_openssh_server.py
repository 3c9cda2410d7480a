"""On the wire it is plain SSH: our link works with OpenSSH's server, and through renewed keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tunnel_ends import echo, open_flow, open_target, run

from ktnet.link.connection import open_link
from ktnet.link.keys import new_client_key
from ktnet.wire.flow import OpenFailure

pytestmark = pytest.mark.lab

BENCH = Path(__file__).parents[3] / "bench"
SIZE_BYTES = 8 << 20
USER = "ktnet:x:0:0::/:/bin/sh\n"


@pytest.fixture(scope="module")
def sshd() -> tuple[str, dict[str, str]]:
    """OpenSSH's server: the installed one, or unpacked beside the benchmarks."""
    sys.path.append(str(BENCH))
    try:
        return importlib.import_module("peers").find_sshd()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no OpenSSH server here: {error}")
    finally:
        sys.path.remove(str(BENCH))


@contextlib.asynccontextmanager
async def open_server(sshd, directory: Path, *options: str):
    """sshd by inetd's way: one connection on a pair of sockets; (dial, client key, host key)."""
    command, environment = sshd
    key, public = new_client_key()
    (directory / "authorized").write_text(public + "\n")
    host = directory / "host"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(host)], check=True)  # noqa: ASYNC221
    users = Path("/etc/passwd").read_text()
    if "\nsshd:" not in users:
        users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    (directory / "passwd").write_text(users + USER)
    words = [
        *(command, "-i", "-e", "-f", "/dev/null", "-o", f"HostKey={host}", "-o", "UsePAM=no"),
        *("-o", f"AuthorizedKeysFile={directory}/authorized", "-o", "StrictModes=no"),
        *("-o", "PermitRootLogin=yes", *options),
    ]
    script = (
        f"mount --make-rprivate / && mount --bind {directory}/passwd /etc/passwd && "
        'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'
    )
    processes = []

    async def dial(factory):
        ours, theirs = make_pair()
        processes.append(
            subprocess.Popen(  # noqa: ASYNC220
                ["unshare", "-m", "sh", "-c", script, "sshd", *words],
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
            )
        )
        theirs.close()
        return await asyncio.get_running_loop().create_connection(factory, sock=ours)

    try:
        yield dial, key, " ".join(host.with_suffix(".pub").read_text().split()[:2])
    finally:
        for process in processes:
            process.kill()
            await asyncio.to_thread(process.wait)


def make_pair():
    """Two ends of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    return ours, theirs


@pytest.mark.parametrize("rekey", ["default", "1M"])
def test_flows_through_openssh(sshd, tmp_path, ssh_path, rekey):
    async def scenario():
        async with (
            open_server(sshd, tmp_path, "-o", f"RekeyLimit={rekey}") as (dial, key, host_key),
            open_link(dial, client_key=key, host_key=host_key) as link,
            open_target(echo) as port,
        ):
            receivers = [open_flow(link, port) for _ in range(3)]
            async with asyncio.TaskGroup() as group:
                for n, receiver in enumerate(receivers):
                    group.create_task(upload(receiver, bytes([n]) * 65536))
            for n, receiver in enumerate(receivers):
                assert await receiver.until_closed(30) == "end"
                expected = hashlib.sha256(bytes([n]) * SIZE_BYTES).digest()
                assert hashlib.sha256(receiver.data).digest() == expected
            assert link.path == ssh_path
            assert link.closed is None

    async def upload(receiver, piece):
        flow = await receiver.until_open()
        for _ in range(SIZE_BYTES // len(piece)):
            await receiver.until(lambda r: not r.paused, timeout_s=30)
            flow.write(piece)
            await asyncio.sleep(0)
        flow.write_eof()

    run(scenario())


def test_a_target_that_openssh_can_not_reach(sshd, tmp_path):
    async def scenario():
        async with (
            open_server(sshd, tmp_path) as (dial, key, host_key),
            open_link(dial, client_key=key, host_key=host_key) as link,
        ):
            # OpenSSH has one word for every cause (RFC 4254 section 5.1, "connect failed").
            assert await open_flow(link, 1).until_failed() is OpenFailure.REFUSED
            assert link.closed is None

    run(scenario())
