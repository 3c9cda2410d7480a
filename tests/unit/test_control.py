"""The registry of sessions and their sockets: real processes, asked from outside."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktnet import control
from ktnet.errors import Conflict, HostPermissionError, KtnetError, NotFound

SESSION = """
import asyncio, sys, time
from pathlib import Path
from ktnet import control

control.runtime_directory = lambda: Path(sys.argv[1])

async def main():
    end = asyncio.Event()
    facts = {"command": "connect", "namespace": "demo", "state": "ready", "since": "now"}
    async with control.open_control(lambda: facts, end.set):
        print("ready", flush=True)
        await end.wait()
        await asyncio.sleep(float(sys.argv[2]))

asyncio.run(main())
time.sleep(float(sys.argv[2]))
Path(sys.argv[1], "undone").touch()
"""


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "ktnet"
    monkeypatch.setattr(control, "runtime_directory", lambda: directory)
    return directory


@contextmanager
def running_session(runtime: Path, *, undo_s: float = 0.0) -> Iterator[subprocess.Popen]:
    """A session in a process of its own, which needs twice `undo_s` to end."""
    with subprocess.Popen(
        [sys.executable, "-c", SESSION, str(runtime), str(undo_s)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_nothing_is_made_where_there_are_no_sessions(runtime: Path) -> None:
    assert control.list_sessions() == []
    assert not runtime.exists()


def test_sessions_tell_of_themselves(runtime: Path) -> None:
    with running_session(runtime) as first, running_session(runtime) as second:
        sessions = control.list_sessions()
        assert [session["pid"] for session in sessions] == sorted([first.pid, second.pid])
        assert sessions[0] == {
            "pid": min(first.pid, second.pid),
            "command": "connect",
            "namespace": "demo",
            "state": "ready",
            "since": "now",
        }


def test_disconnect_returns_when_all_is_undone(runtime: Path) -> None:
    with running_session(runtime, undo_s=0.2) as process, running_session(runtime) as other:
        (session,) = (s for s in control.list_sessions() if s["pid"] == process.pid)
        control.disconnect(session)
        assert (runtime / "undone").exists()
        assert process.poll() == 0
        assert [s["pid"] for s in control.list_sessions()] == [other.pid]


def test_disconnect_of_what_is_gone_is_fine(runtime: Path) -> None:
    with running_session(runtime) as process:
        (session,) = control.list_sessions()
        control.disconnect(session)
        control.disconnect(session)
        process.wait()
        control.disconnect(session)


def test_disconnect_does_not_wait_for_ever(runtime: Path) -> None:
    with running_session(runtime, undo_s=60) as process:
        (session,) = control.list_sessions()
        with pytest.raises(KtnetError, match="has not undone everything"):
            control.disconnect(session, timeout_s=0.2)
        assert process.poll() is None


def test_killed_session_is_forgotten(runtime: Path) -> None:
    with running_session(runtime) as process:
        process.kill()
        process.wait()
        (left,) = (runtime / "sessions").iterdir()
        assert left.name == f"{process.pid}.sock"
        assert control.list_sessions() == []
        assert list((runtime / "sessions").iterdir()) == []


def test_stopped_session_is_shown_and_can_not_be_ended(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REPLY_TIME_S", 0.2)
    with running_session(runtime) as process:
        process.send_signal(signal.SIGSTOP)
        (session,) = control.list_sessions()
        assert (session["pid"], session["state"]) == (process.pid, "not answering")
        with pytest.raises(KtnetError, match="does not answer"):
            control.disconnect(session)
        process.send_signal(signal.SIGCONT)
        # What was asked while it slept still counts.
        process.wait()
        assert control.list_sessions() == []


def describe() -> dict[str, str]:
    return {"command": "connect", "namespace": "demo", "state": "ready", "since": "now"}


def in_session(ask: Callable[[Path], None]) -> list[str]:
    """Call `ask` with the socket of a session in this process; how often it was to disconnect."""
    calls: list[str] = []

    async def main() -> None:
        async with control.open_control(describe, lambda: calls.append("disconnect")):
            await asyncio.to_thread(ask, control.open_registry() / f"{os.getpid()}.sock")

    asyncio.run(main())
    return calls


def test_only_the_user_gets_at_the_socket_and_it_goes_with_the_session(runtime: Path) -> None:
    def ask(path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.parent.parent == runtime
        assert runtime.stat().st_mode & 0o777 == 0o700

    in_session(ask)
    assert list((runtime / "sessions").iterdir()) == []


def test_socket_goes_when_the_session_fails(runtime: Path) -> None:
    async def main() -> None:
        async with control.open_control(describe, lambda: None):
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(main())
    assert raised.group_contains(ZeroDivisionError)
    assert list((runtime / "sessions").iterdir()) == []


def test_registry_that_vanishes_does_not_break_the_end(runtime: Path) -> None:
    def remove(path: Path) -> None:
        path.unlink()
        path.parent.rmdir()

    assert in_session(remove) == []


def test_leftover_of_an_earlier_process_with_this_pid_is_replaced(runtime: Path) -> None:
    path = control.open_registry() / f"{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    in_session(lambda path: None)


def test_second_session_of_one_process_is_a_conflict(runtime: Path) -> None:
    async def main() -> None:
        async with control.open_control(describe, lambda: None):
            with pytest.raises(Conflict):
                async with control.open_control(describe, lambda: None):
                    pytest.fail("there are two")

    asyncio.run(main())


def exchange(path: Path, request: bytes, *, end: bool = True) -> bytes:
    """All that comes back to the octets of `request`; b"" where the connection is just closed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        try:
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return b""  # it was closed before it had read everything


GARBAGE = [
    b"",
    b"\n",
    b"status\n",
    b"{}\n",
    b"[]\n",
    b'{"do": "status"}',
    b'{"do": "status"}\n{"do": "status"}\n',
    b'{"do": "destroy"}\n',
    b'{"do": ["status"]}\n',
    b'{"do": {"status": 1}}\n',
    b'{"do": null}\n',
    b"\xff\xfe\n",
    b"[" * 4000 + b"\n",
    b" " * 4096 + b'{"do": "status"}\n',
    b"x" * 1_000_000,
    b"9" * 4090 + b"\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_closes_the_connection_and_nothing_else(runtime: Path, garbage: bytes) -> None:
    def ask(path: Path) -> None:
        assert exchange(path, garbage) == b""
        reply = json.loads(exchange(path, b'{"do": "status"}\n'))
        assert reply == {**describe(), "pid": os.getpid()}

    assert in_session(ask) == []


def test_request_byte_by_byte(runtime: Path) -> None:
    def ask(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            for octet in b'{"do": "status"}\n':
                connection.sendall(bytes((octet,)))
            assert json.loads(connection.recv(65536))["state"] == "ready"

    in_session(ask)


def test_request_that_never_comes_is_not_waited_for(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REQUEST_TIME_S", 0.1)
    in_session(lambda path: exchange(path, b'{"do"', end=False))


def test_disconnect_is_called_once_for_one_request(runtime: Path) -> None:
    def ask(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(path))
            connection.sendall(b'{"do": "disconnect"}\n')
            assert json.loads(connection.recv(100)) == {"ok": True}
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)  # open until the session has ended

    assert in_session(ask) == ["disconnect"]


STRANGER = """
import os, socket, sys
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
try:
    connection.connect(sys.argv[1])
    connection.sendall(b'{"do": "disconnect"}\\n')
    print(connection.recv(100))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_other_users_are_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the file's mode, and not by the session either, were the modes ever wrong."""
    with tempfile.TemporaryDirectory(prefix=f"ktnet-test-{os.getpid()}-") as name:
        monkeypatch.setattr(control, "runtime_directory", lambda: Path(name, "ktnet"))

        def ask(path: Path) -> None:
            command = [sys.executable, "-c", STRANGER, str(path)]
            closed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert closed == "PermissionError\n"
            for directory in (Path(name), *list(path.parents)[:2]):
                directory.chmod(0o755)
            path.chmod(0o666)
            unheard = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert unheard in ("b''\n", "ConnectionResetError\n", "BrokenPipeError\n")

        assert in_session(ask) == []


@contextmanager
def impostor(path: Path, reply: bytes) -> Iterator[None]:
    """Something listens where a session should, and says something else."""
    script = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(100)
    connection.sendall(bytes.fromhex(sys.argv[2]))
    connection.close()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path), reply.hex()], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("reply", [b"", b"\n", b"[]\n", b"{\n", b"\xff\n", b'{"pid": 1}'])
def test_nonsense_from_a_socket_is_no_session(runtime: Path, reply: bytes) -> None:
    path = control.open_registry() / "1234567.sock"
    with impostor(path, reply):
        assert control.list_sessions() == []
        assert path.exists()  # somebody listens there: not ours to remove


def test_pid_is_that_of_the_socket(runtime: Path) -> None:
    path = control.open_registry() / "1234567.sock"
    with impostor(path, b'{"pid": "1; rm", "command": "connect"}\n'):
        assert control.list_sessions() == [{"pid": 1234567, "command": "connect"}]


def test_files_of_other_kinds_are_left_alone(runtime: Path) -> None:
    registry = control.open_registry()
    for name in ("notes.txt", "x.sock", "-1.sock", ".sock"):
        (registry / name).touch()
    assert control.list_sessions() == []
    assert len(list(registry.iterdir())) == 4


def test_directory_that_is_not_ours_alone_is_refused(runtime: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    runtime.symlink_to(target)
    with pytest.raises(HostPermissionError):
        control.open_registry()
    runtime.unlink()
    runtime.touch()
    with pytest.raises(HostPermissionError):
        control.open_registry()
    runtime.unlink()
    runtime.mkdir()
    runtime.chmod(0o770)
    with pytest.raises(HostPermissionError) as raised:
        control.list_sessions()
    assert str(runtime) in raised.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to another user")
def test_directory_of_another_user_is_refused(runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    os.chown(runtime, 65534, 65534)
    with pytest.raises(HostPermissionError):
        control.open_registry()


def test_path_that_is_too_long_for_a_socket_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(control, "runtime_directory", lambda: deep / "ktnet")
    with pytest.raises(HostPermissionError, match="can't be made"):
        in_session(lambda path: None)


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert control.runtime_directory() == Path("/run/ktnet")
    monkeypatch.setattr(os, "geteuid", lambda: uid or tmp_path.stat().st_uid + 1)
    mine = os.geteuid()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if uid:
        assert control.runtime_directory() == tmp_path / "ktnet"
    else:  # the variable names a directory of somebody else, as after `su`
        assert control.runtime_directory() == Path(f"/tmp/ktnet-{mine}")
    for value in ("", "relative", str(tmp_path / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        assert control.runtime_directory() == Path(f"/tmp/ktnet-{mine}")


def test_asking_is_quick() -> None:
    """`ktnet status` should not wait for asyncio to be imported."""
    script = "import sys, ktnet.control; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


ASKER = """
import pathlib, sys
from ktnet import control

control.runtime_directory = lambda: pathlib.Path(sys.argv[1])
sys.exit(not all(len(control.list_sessions()) == 1 for _ in range(50)))
"""


def test_many_ask_at_once(runtime: Path) -> None:
    with running_session(runtime):
        askers = [subprocess.Popen([sys.executable, "-c", ASKER, str(runtime)]) for _ in range(4)]
        assert [asker.wait() for asker in askers] == [0, 0, 0, 0]


def test_session_can_do_more_than_tell_its_state(runtime: Path) -> None:
    async def answer(request: dict) -> dict:
        if request.get("name") == "absent":
            raise NotFound("no such thing", hint="look elsewhere")
        return {"said": request["name"]}

    def ask() -> None:
        (session,) = control.list_sessions()
        request = {"do": "look", "name": "x"}
        assert control.ask_session(session, request, timeout_s=5) == {"said": "x"}
        with pytest.raises(KtnetError, match="no such thing") as raised:
            control.ask_session(session, {"do": "look", "name": "absent"}, timeout_s=5)
        assert raised.value.hint == "look elsewhere"
        with pytest.raises(KtnetError, match="does not answer"):
            control.ask_session(session, {"do": "jump"}, timeout_s=5)
        with pytest.raises(NotFound, match="has just ended"):
            control.ask_session({"pid": 1}, request, timeout_s=5)

    async def main() -> None:
        async with control.open_control(describe, lambda: None, {"look": answer}):
            await asyncio.to_thread(ask)

    asyncio.run(main())


def test_session_that_takes_too_long_is_not_waited_for(runtime: Path) -> None:
    async def hang(request: dict) -> dict:
        await asyncio.Event().wait()
        return {}

    def ask() -> None:
        (session,) = control.list_sessions()
        with pytest.raises(KtnetError, match="does not answer"):
            control.ask_session(session, {"do": "hang"}, timeout_s=0.2)

    async def main() -> None:
        async with control.open_control(describe, lambda: None, {"hang": hang}):
            await asyncio.to_thread(ask)

    asyncio.run(main())
