"""Logging in: who is let in, who is believed, and what is said where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import asyncssh
import pytest
from tunnel_ends import open_shadow, open_target, run, until

from ktnet.errors import HostKeyMismatch, RemoteProtocolError, TunnelError
from ktnet.link.connection import open_link
from ktnet.link.keys import new_client_key

SOME_KEY, SOME_PUBLIC_KEY = new_client_key()


@contextlib.asynccontextmanager
async def answering(answer: bytes, then_close: bool):
    """A server that says `answer` to whoever connects; yields a connector to it."""

    async def handle(sock):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, answer)
        if then_close:
            sock.shutdown(socket.SHUT_WR)
        while await loop.sock_recv(sock, 65536):
            pass

    async with open_target(handle) as port:
        yield lambda factory: asyncio.get_running_loop().create_connection(
            factory, "127.0.0.1", port
        )


async def log_in(connect, timeout_s=5.0):
    async with open_link(
        connect, client_key=SOME_KEY, host_key=SOME_PUBLIC_KEY, timeout_s=timeout_s
    ):
        pytest.fail("logged in")


def test_attach_and_leave():
    async def scenario():
        async with open_shadow() as ends:
            async with ends.attach() as link:
                await until(lambda: ends.shadow.attendance.attached == 1)
                assert link.closed is None
                assert await link.round_trip() < 1
            assert "closed" in str(link.closed)
            await until(lambda: ends.shadow.attendance.attached == 0)
            assert ends.shadow.admission.unauthenticated == 0
            assert not ends.shadow.connections

    run(scenario())


def test_encryption_is_aes_gcm_without_compression():
    async def scenario():
        async with open_shadow() as ends, ends.attach() as link:
            info = link._connection.get_extra_info
            assert info("send_cipher") == info("recv_cipher") == "aes128-gcm@openssh.com"
            assert info("send_compression") == info("recv_compression") == "none"

    run(scenario())


def test_errors_of_the_body_come_out_as_they_are():
    async def scenario():
        async with open_shadow() as ends:
            with pytest.raises(TunnelError, match="of the body"):
                async with ends.attach():
                    raise TunnelError("of the body")

    run(scenario())


def test_two_clients_with_the_key_may_attach():
    async def scenario():
        async with open_shadow() as ends, ends.attach() as one, ends.attach() as two:
            assert await one.round_trip() < 1
            assert await two.round_trip() < 1
            assert ends.shadow.attendance.attached == 2

    run(scenario())


def test_another_host_key_is_refused_and_named():
    async def scenario():
        async with open_shadow() as ends:
            with pytest.raises(HostKeyMismatch) as caught:
                async with ends.attach(host_key=SOME_PUBLIC_KEY):
                    pytest.fail("logged in")
            assert caught.value.hint
            await until(lambda: not ends.shadow.connections)
            assert ends.shadow.admission.unauthenticated == 0

    run(scenario())


def test_another_client_key_is_refused_and_named():
    async def scenario():
        async with open_shadow() as ends:
            with pytest.raises(TunnelError, match="does not accept") as caught:
                async with ends.attach(client_key=SOME_KEY):
                    pytest.fail("logged in")
            assert caught.value.hint
            assert any("key refused" in line for line in ends.log_lines)

    run(scenario())


def test_a_malformed_host_key_is_refused():
    async def scenario():
        with pytest.raises(RemoteProtocolError):
            async with open_link(
                lambda _factory: pytest.fail("dialled"), client_key=SOME_KEY, host_key="ssh-rsa x"
            ):
                pytest.fail("logged in")

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-\xff\xff\r\n",
        b"x" * 100_000,
        b"line\n" * 10_000,
        b"SSH-2.0-x\r\n" + b"\0" * 100,
        b"SSH-2.0-x\r\n" + b"\xff" * 100,
        b"SSH-2.0-x\r\n" + b"\0\0\0\x0c\x0a\x14" + bytes(10),
        b"SSH-2.0-x\r\n" + b"\0\0\0\x0c\x0a\x05" + bytes(10),
        b"SSH-2.0-x\r\n" + b"\0\0\0\x04\x03\x00\x00\x00" * 4,
    ],
)
def test_garbage_instead_of_ssh_is_their_fault(answer):
    async def scenario():
        async with answering(answer, then_close=False) as connect:
            with pytest.raises(RemoteProtocolError):
                await log_in(connect)

    run(scenario())


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"SSH-"]
)
def test_a_stream_that_ends_during_log_in_is_an_error_that_says_so(answer):
    async def scenario():
        async with answering(answer, then_close=True) as connect:
            with pytest.raises(TunnelError, match=r"cannot log in"):
                await log_in(connect)

    run(scenario())


def test_random_bytes_give_our_errors_only():
    async def scenario():
        for size in (1, 40, 300, 5000):
            for start in (b"", b"SSH-2.0-ktnet\r\n"):
                async with answering(start + os.urandom(size), then_close=True) as connect:
                    with pytest.raises(TunnelError):
                        await log_in(connect)

    run(scenario())


def test_silence_ends_with_the_time_limit():
    async def scenario():
        async with answering(b"", then_close=False) as connect:
            with pytest.raises(TunnelError, match="in time"):
                await log_in(connect, timeout_s=0.1)

    run(scenario())


def test_what_the_dialler_raises_arrives():
    async def refuse(_factory):
        raise ConnectionRefusedError(111, "nobody there")

    async def fail(_factory):
        raise TunnelError("no port-forward", hint="try")

    with pytest.raises(TunnelError, match="nobody there"):
        run(log_in(refuse))
    with pytest.raises(TunnelError, match="no port-forward") as caught:
        run(log_in(fail))
    assert caught.value.hint == "try"


def test_nothing_of_the_users_own_is_used(tmp_path, monkeypatch):
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "config").write_text("Host *\n  ProxyCommand false\n  User somebody\n  Port 1\n")
    (ssh / "known_hosts").write_text(f"* {SOME_PUBLIC_KEY}\n")
    (ssh / "id_ed25519").write_bytes(SOME_KEY.export_private_key())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "no-agent"))

    async def scenario():
        async with open_shadow() as ends:
            async with ends.attach() as link:
                assert await link.round_trip() < 1
            with pytest.raises(HostKeyMismatch):
                async with ends.attach(host_key=SOME_PUBLIC_KEY):
                    pytest.fail("logged in")

    run(scenario())


def test_a_uid_without_a_name_can_log_in(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 1_234_567)

    async def scenario():
        async with open_shadow() as ends, ends.attach() as link:
            assert await link.round_trip() < 1

    monkeypatch.setenv("LOGNAME", "")  # so that what the link sets is taken back
    run(scenario())


def test_unauthenticated_connections_are_limited():
    async def scenario():
        async with open_shadow() as ends:
            held = [await asyncio.open_connection("127.0.0.1", ends.port) for _ in range(32)]
            for reader, _ in held:
                await reader.readline()
            reader, writer = await asyncio.open_connection("127.0.0.1", ends.port)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            for _, held_writer in held:
                held_writer.close()
            await until(lambda: ends.shadow.admission.unauthenticated == 0)
            async with ends.attach() as link:
                assert await link.round_trip() < 1

    run(scenario())


async def plain_client(ends, **options):
    return await asyncssh.connect(
        "127.0.0.1",
        ends.port,
        config=None,
        known_hosts=None,
        agent_path=None,
        **{"username": "ktnet", "client_keys": [ends.client_key]} | options,
    )


def test_only_the_one_user_may_log_in():
    async def scenario():
        async with open_shadow() as ends:
            for user in ("root", "", "ktnet2", "x\nktnet-hostkey v1 ssh-ed25519 AAAA"):
                with pytest.raises((asyncssh.Error, ValueError)):
                    await plain_client(ends, username=user)
            assert all(line.count("\n") == 1 for line in ends.log_lines)

    run(scenario())


def test_no_password_no_shell_no_files_no_listener():
    async def scenario():
        async with open_shadow() as ends:
            with pytest.raises(asyncssh.PermissionDenied):
                await plain_client(ends, client_keys=None, password="ktnet")
            async with await plain_client(ends) as client:
                with pytest.raises(asyncssh.ChannelOpenError):
                    await client.create_process()
                with pytest.raises(asyncssh.ChannelOpenError):
                    await client.create_process("id")
                with pytest.raises(asyncssh.ChannelOpenError):
                    await client.start_sftp_client()
                with pytest.raises(asyncssh.ChannelListenError):
                    await client.start_server(lambda *_: None, "127.0.0.1", 0)
                with pytest.raises(asyncssh.ChannelOpenError):
                    await client.open_unix_connection("/run/x")
                with pytest.raises(asyncssh.ChannelListenError):
                    await client.start_unix_server(lambda *_: None, "/tmp/x")
                with pytest.raises(asyncssh.ChannelOpenError):
                    await client.create_tun(lambda *_: None)
                assert not client.is_closed()

    run(scenario())
