"""`python -m ktnet.shadow` as the pod runs it: start, log, end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktnet.link.connection import open_link
from ktnet.link.keys import new_client_key
from ktnet.wire.flow import OpenFailure
from ktnet.wire.shadow import find_host_key, parse_host_key_line

ROOT = Path(__file__).resolve().parents[3]


class ShadowProcess:
    """A shadow in a process of its own; `lines` is its log so far."""

    def __init__(self, process, client_key, started_at):
        self.process = process
        self.client_key = client_key
        self.started_at = started_at
        self.lines = []

    async def until_listening(self):
        while "listening" not in (line := await self.line()):
            pass
        self.listening_after_s = time.monotonic() - self.started_at
        self.port = int(line.rsplit("port=", 1)[1])
        return self

    async def line(self):
        line = (await self.process.stdout.readline()).decode("ascii")
        assert line.endswith("\n"), self.lines
        self.lines.append(line)
        return line

    async def end(self):
        """(exit code, log)."""
        rest = (await self.process.stdout.read()).decode("ascii")
        return await self.process.wait(), "".join(self.lines) + rest

    def attach(self):
        loop = asyncio.get_running_loop()
        return open_link(
            lambda factory: loop.create_connection(factory, "127.0.0.1", self.port),
            client_key=self.client_key,
            host_key=find_host_key("".join(self.lines)),
        )


@contextlib.asynccontextmanager
async def starting(*arguments, prefix=(), **options):
    client_key, public_key = new_client_key()
    started_at = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *prefix,
        *(sys.executable, "-m", "ktnet.shadow", "--authorized-key", public_key),
        *("--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **{"cwd": ROOT} | options,
    )
    try:
        yield ShadowProcess(process, client_key, started_at)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def run(coroutine):
    async def limited():
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(limited())


def test_it_listens_soon_and_says_its_host_key_then():
    async def scenario():
        async with starting() as shadow:
            await shadow.until_listening()
            assert parse_host_key_line(shadow.lines[0])
            print(f"listening after {shadow.listening_after_s:.2f} s")
            assert shadow.listening_after_s < 2  # 0.2 s on an idle machine; it must be below 0.7
            async with shadow.attach() as link:
                assert await link.round_trip() < 1

    run(scenario())


def test_it_ends_with_0_when_nobody_has_come():
    async def scenario():
        async with starting("--idle", "0.3") as shadow:
            code, log = await shadow.end()
            assert code == 0
            assert "session over" in log

    run(scenario())


def test_it_stays_while_somebody_is_attached_and_ends_with_0_after():
    async def scenario():
        async with starting("--idle", "0.5") as shadow:
            await shadow.until_listening()
            async with shadow.attach() as link:
                await asyncio.sleep(0.7)
                assert shadow.process.returncode is None
                assert await link.round_trip() < 1
            async with shadow.attach():
                left_at = time.monotonic()
            code, log = await shadow.end()
            assert code == 0
            assert time.monotonic() - left_at >= 0.5
            assert log.count("client attached") == log.count("client gone") == 2

    run(scenario())


def test_a_client_that_was_killed_is_gone():
    async def scenario():
        async with starting("--idle", "0.3") as shadow:
            await shadow.until_listening()
            async with shadow.attach() as link:
                link._connection._transport.abort()
                await link.wait_closed()
                code, _ = await shadow.end()
                assert code == 0

    run(scenario())


def test_sigterm_ends_it_with_143_and_tells_the_client():
    async def scenario():
        async with starting() as shadow:
            await shadow.until_listening()
            async with shadow.attach() as link:
                await link.round_trip()
                shadow.process.send_signal(signal.SIGTERM)
                assert "closed the connection" in str(await link.wait_closed())
                code, log = await shadow.end()
                assert code == 143
                assert "terminating" in log

    run(scenario())


def test_sigterm_lets_flows_end_first():
    async def scenario():
        with never_accepting() as port:
            async with starting() as shadow:
                await shadow.until_listening()
                async with shadow.attach() as link:
                    await drain(shadow, link, port)

    async def drain(shadow, link, port):
        receiver = await Recorder.opening(link, port)
        shadow.process.send_signal(signal.SIGTERM)
        while "terminating" not in await shadow.line():
            pass
        late = await Recorder.opening(link, port)
        assert late.failure is OpenFailure.SHORTAGE
        assert link.closed is None
        receiver.flow.reset()
        await link.wait_closed()
        code, _ = await shadow.end()
        assert code == 143

    run(scenario())


def test_it_runs_as_nobody_without_a_writable_place():
    if os.geteuid() != 0:
        pytest.skip("needs root to become nobody")
    prefix = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh"]
    assert shutil.which("setpriv")

    async def scenario():
        async with starting(
            "--idle", "0.5", prefix=prefix, env={"PYTHONPATH": str(ROOT)}
        ) as shadow:
            await shadow.until_listening()
            async with shadow.attach() as link:
                assert await link.round_trip() < 1
            code, log = await shadow.end()
            assert code == 0, log

    run(scenario())


READ_ONLY = """
mount --make-rprivate / && mount -o remount,bind,ro / &&
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


def test_an_address_in_use_is_one_line_and_exit_code_1():
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            async with starting("--port", port) as shadow:
                code, log = await shadow.end()
                assert code == 1
                assert log.count("\n") == 1
                assert "cannot listen" in log

    run(scenario())


def test_it_raises_its_descriptor_limit():
    def few_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))

    async def scenario():
        async with starting(preexec_fn=few_descriptors) as shadow:
            await shadow.until_listening()
            soft, hard = resource.prlimit(shadow.process.pid, resource.RLIMIT_NOFILE)
            assert (soft, hard) == (4096, 4096)

    run(scenario())


def test_out_of_descriptors_is_a_shortage_and_passes():
    def few_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    async def scenario():
        with never_accepting() as port:
            async with starting(preexec_fn=few_descriptors) as shadow:
                await shadow.until_listening()
                async with shadow.attach() as link:
                    await use_up(link, port)

    async def use_up(link, port):
        receivers = [await Recorder.opening(link, port) for _ in range(60)]
        assert {receiver.failure for receiver in receivers} == {None, OpenFailure.SHORTAGE}
        for receiver in receivers:
            if receiver.flow is not None:
                receiver.flow.reset()
        await link.round_trip()
        again = await Recorder.opening(link, port)
        assert again.failure is None
        assert link.closed is None

    run(scenario())


def test_garbage_on_its_port_is_logged_escaped_and_harmless():
    async def scenario():
        async with starting() as shadow:
            await shadow.until_listening()
            _, forged = new_client_key()
            line = f"\nktnet-hostkey v1 {forged}\n".encode()
            for garbage in (line * 3, b"SSH-2.0-x" + line + bytes(300), b"\xff" * 10_000):
                reader, writer = await asyncio.open_connection("127.0.0.1", shadow.port)
                writer.write(garbage)
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.close()
            async with shadow.attach() as link:
                receiver = Recorder()
                link.open_tcp(line.decode(), 1, (line.decode(), 1), receiver)
                await receiver.opened_event.wait()
                assert receiver.failure is OpenFailure.UNKNOWN_NAME
            shadow.process.send_signal(signal.SIGTERM)
            code, log = await shadow.end()
            assert code == 143
            assert find_host_key(log) == find_host_key(shadow.lines[0])
            keys = [line for line in log.splitlines() if parse_host_key_line(line)]
            assert len(keys) == 1
            assert "internal error" not in log
            assert "Traceback" not in log

    run(scenario())


@contextlib.contextmanager
def never_accepting():
    """The port of a listener whose connections the kernel alone accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


class Recorder:
    """A receiver that only remembers how its opening went."""

    def __init__(self):
        self.flow = self.failure = None
        self.opened_event = asyncio.Event()

    @classmethod
    async def opening(cls, link, port):
        receiver = cls()
        link.open_tcp("127.0.0.1", port, ("127.0.0.1", 1), receiver)
        await receiver.opened_event.wait()
        return receiver

    def opened(self, flow):
        self.flow = flow
        self.opened_event.set()

    def open_failed(self, failure):
        self.failure = failure
        self.opened_event.set()

    def data_received(self, data): ...
    def eof_received(self): ...
    def closed(self, *, reset): ...
    def pause_writing(self): ...
    def resume_writing(self): ...


def test_sigterm_while_it_is_still_importing_ends_it_at_once(tmp_path):
    """As process 1 of a container it would not even be killed by it."""
    (tmp_path / "asyncssh.py").write_text(
        "import signal\nprint('importing', flush=True)\nsignal.pause()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "ktnet.shadow"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    with process:
        assert process.stdout.readline() == b"importing\n"
        process.terminate()
        assert process.wait(5) == 128 + signal.SIGTERM
