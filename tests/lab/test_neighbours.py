"""Root looks for the sessions of others in directories that those others write to."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ktnet.commands.neighbours import PATIENCE_S, list_neighbours

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root looks at others' sessions"),
]

USER, OTHER = 65534, 65533


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """As /tmp, where everybody may make directories."""
    for each in (tmp_path, *tmp_path.parents):
        if each.is_relative_to("/tmp") and each != Path("/tmp"):
            each.chmod(0o755)
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    return place


def look(place: Path) -> list[dict[str, Any]]:
    return list_neighbours({0}, [(place, re.compile(r"ktnet-(\d+)"), ("sessions",))])


def make_registry(place: Path, uid: int = USER, mode: int = 0o700) -> Path:
    home = place / f"ktnet-{USER}"
    for each in (home, home / "sessions"):
        each.mkdir()
        os.chown(each, uid, uid)
        each.chmod(mode)
    return home / "sessions"


def tell(value: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(value)

    return serve


def say_nothing(connection: socket.socket) -> None:
    connection.recv(4096)
    time.sleep(30)


def drip(connection: socket.socket) -> None:
    """Something each moment, and never a line's end."""
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


@contextmanager
def session(path: Path, serve: Callable[[socket.socket], None], uid: int = USER) -> Iterator[None]:
    """A process of that user's that listens there; `path` belongs to USER in any case."""
    ready, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            os.chown(path, USER, USER)
            os.setgid(uid)
            os.setuid(uid)
            listener.listen(8)
            os.write(says, b".")
            while True:
                with listener.accept()[0] as connection:
                    serve(connection)
        finally:
            os._exit(1)
    try:
        os.read(ready, 1)
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(says)


STATUS = {"pid": 1, "command": "connect", "state": "connected", "namespace": "demo"}
LINE = json.dumps(STATUS).encode() + b"\n"


def test_a_session_is_found_with_its_user(place: Path) -> None:
    with session(make_registry(place) / "4711.sock", tell(LINE)):
        (found,) = look(place)
    assert found == {**STATUS, "user": "nobody", "pid": 4711}


def test_what_it_says_is_cut_down_to_words(place: Path) -> None:
    told = {**STATUS, "state": "\x1b[2Jconnected\n", "context": "x" * 5000, "routes": ["evil"]}
    told |= {"namespace": {"deep": 1}, "user": "root"}
    with session(make_registry(place) / "1.sock", tell(json.dumps(told).encode() + b"\n")):
        (found,) = look(place)
    assert found["user"] == "nobody"
    assert found["state"] == " [2Jconnected "
    assert len(found["context"]) == 200
    assert found.keys() == {"user", "pid", "command", "state", "context"}


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_directories_that_others_write_to_are_left_alone(place: Path, mode: int) -> None:
    registry = make_registry(place, mode=mode)
    with session(registry / "1.sock", tell(LINE)):
        assert look(place) == []


def test_a_directory_of_somebody_elses_is_left_alone(place: Path) -> None:
    registry = make_registry(place, uid=OTHER)
    with session(registry / "1.sock", tell(LINE)):
        assert look(place) == []


def test_links_are_not_followed(place: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    real = make_registry(elsewhere)
    with session(real / "1.sock", tell(LINE)):
        home = place / f"ktnet-{USER}"
        home.symlink_to(real.parent)
        os.lchown(home, USER, USER)
        assert look(place) == []
        home.unlink()
        registry = make_registry(place)
        link = registry / "1.sock"
        link.symlink_to(real / "1.sock")
        os.lchown(link, USER, USER)
        assert look(place) == []


def test_a_listener_of_another_user_is_not_believed(place: Path) -> None:
    path = make_registry(place) / "1.sock"
    with session(path, tell(LINE), uid=OTHER):
        assert look(place) == []


@pytest.mark.parametrize("said", [b"\n", b"[]\n", b"{", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_garbage_is_nothing(place: Path, said: bytes) -> None:
    with session(make_registry(place) / "1.sock", tell(said)):
        assert look(place) == []


@pytest.mark.parametrize("serve", [say_nothing, drip])
def test_who_keeps_us_waiting_does_so_for_a_moment(
    place: Path, serve: Callable[[socket.socket], None]
) -> None:
    registry = make_registry(place)
    with (
        session(registry / "1.sock", serve),
        session(registry / "2.sock", tell(LINE)),
    ):
        start_s = time.monotonic()
        found = look(place)
        assert time.monotonic() - start_s < 5 * PATIENCE_S
    assert [(each["pid"], each["state"]) for each in found] == [
        (1, "not answering"),
        (2, "connected"),
    ]


def test_files_and_dead_sockets_are_nothing(place: Path) -> None:
    registry = make_registry(place)
    (registry / "1.sock").write_text("no socket")
    with session(registry / "2.sock", say_nothing):
        pass
    assert look(place) == []


def test_an_ordinary_user_is_given_nothing(place: Path) -> None:
    with session(make_registry(place) / "1.sock", tell(LINE)):
        pid = os.fork()
        if pid == 0:
            os.setuid(OTHER)
            os._exit(len(look(place)))
        assert os.waitpid(pid, 0)[1] == 0
