"""Calls on a bus that behaves, that is silent, that talks nonsense, that goes away."""

import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from jeepney import HeaderFields, Message, MessageType, new_error, new_method_return
from jeepney.low_level import Parser

from ktnet.errors import DnsError
from ktnet.host import system_bus
from ktnet.host.resolved import is_resolved_there, revert_resolved, tell_resolved
from ktnet.host.resolver_plan import ResolvedPlan
from ktnet.host.system_bus import open_system_bus

PLAN = ResolvedPlan(IPv4Address("198.19.0.1"), ("cluster.local",), ("svc", "demo"))
Answer = Callable[[Message], Message | bytes | None]


class Bus:
    """One connection after the other is answered as `answer` says; `calls` are what came."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\r\n"):
            line += connection.recv(100)
        connection.sendall(b"OK 00112233445566778899aabbccddeeff\r\n")
        begin = b""
        while len(begin) < len(b"BEGIN\r\n"):
            begin += connection.recv(len(b"BEGIN\r\n") - len(begin))
        parser = Parser()
        while data := connection.recv(4096):
            for message in parser.feed(data):
                method = message.header.fields[HeaderFields.member]
                reply: Message | bytes | None
                if method == "Hello":
                    reply = new_method_return(message, "s", (":1.7",))
                else:
                    self.calls.append((method, message.body))
                    reply = self._answer(message)
                if reply is None:
                    return
                wire = reply if isinstance(reply, bytes) else reply.serialise(serial=9)
                connection.sendall(wire)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def open_bus(tmp_path: Path) -> Iterator[Callable[[Answer], Bus]]:
    buses: list[Bus] = []

    def open_(answer: Answer) -> Bus:
        buses.append(Bus(tmp_path / "bus", answer))
        return buses[-1]

    yield open_
    for bus in buses:
        bus.close()


def test_what_resolved_is_told(open_bus: Callable[[Answer], Bus]) -> None:
    bus = open_bus(new_method_return)
    tell_resolved(7, PLAN, bus.path)
    methods = [method for method, _ in bus.calls]
    assert methods[0] == "SetLinkDefaultRoute"
    assert methods[-2:] == ["SetLinkDNS", "FlushCaches"]
    said = dict(bus.calls)
    assert said["SetLinkDefaultRoute"] == (7, False)
    assert said["SetLinkDNS"] == (7, [(2, b"\xc6\x13\x00\x01")])
    assert said["SetLinkDomains"] == (
        7,
        [("cluster.local", False), ("svc", True), ("demo", True)],
    )
    assert {said[f"SetLink{each}"] for each in ("LLMNR", "DNSSEC", "DNSOverTLS")} == {(7, "no")}


def test_settings_that_it_does_not_know_are_passed_over(
    open_bus: Callable[[Answer], Bus],
) -> None:
    def answer(message: Message) -> Message:
        if message.header.fields[HeaderFields.member] == "SetLinkDNSOverTLS":
            return new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")
        return new_method_return(message)

    bus = open_bus(answer)
    tell_resolved(7, PLAN, bus.path)
    assert bus.calls[-1][0] == "FlushCaches"


def test_a_refusal_says_why_and_what_else(open_bus: Callable[[Answer], Bus]) -> None:
    bus = open_bus(
        lambda message: new_error(
            message, "org.freedesktop.resolve1.LinkBusy", "s", ("Link ktnet0 is managed.",)
        )
    )
    with pytest.raises(DnsError, match=r"Link ktnet0 is managed\.") as raised:
        tell_resolved(7, PLAN, bus.path)
    assert "--dns-mode resolvconf" in raised.value.hint


@pytest.mark.parametrize(
    "error", ["org.freedesktop.resolve1.NoSuchLink", "org.freedesktop.DBus.Error.ServiceUnknown"]
)
def test_what_is_gone_needs_no_reverting(open_bus: Callable[[Answer], Bus], error: str) -> None:
    bus = open_bus(lambda message: new_error(message, error))
    revert_resolved(7, bus.path)
    assert bus.calls == [("RevertLink", (7,))]


def test_without_a_bus_there_is_nothing_to_revert(tmp_path: Path) -> None:
    revert_resolved(7, tmp_path / "none")
    assert not is_resolved_there(tmp_path / "none")


def test_who_is_there(open_bus: Callable[[Answer], Bus]) -> None:
    bus = open_bus(lambda message: new_method_return(message, "b", (True,)))
    assert is_resolved_there(bus.path)
    assert bus.calls == [("NameHasOwner", ("org.freedesktop.resolve1",))]


def large(message: Message) -> bytes:
    wire = bytearray(new_method_return(message, "b", (True,)).serialise(serial=9))
    wire[4:8] = (1 << 26).to_bytes(4, "little")
    return bytes(wire)


def silent(_: Message) -> bytes:
    return b""


def gone(_: Message) -> None:
    return None


@pytest.mark.parametrize(
    "answer", [silent, gone, large, lambda _: b"\xff" * 64, lambda _: b"l\2\0\1" + b"\0" * 60]
)
def test_a_bad_bus_is_an_error_in_time(
    open_bus: Callable[[Answer], Bus], answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "CALL_TIME_S", 0.3)
    bus = open_bus(answer)
    with open_system_bus(bus.path) as caller, pytest.raises(DnsError):
        caller.has("org.freedesktop.resolve1")
    assert not is_resolved_there(bus.path)


def test_late_replies_and_signals_are_passed_over(open_bus: Callable[[Answer], Bus]) -> None:
    def answer(message: Message) -> bytes:
        late = new_method_return(message, "b", (False,))
        late.header.fields[HeaderFields.reply_serial] = 1
        reply = new_method_return(message, "b", (True,))
        assert reply.header.message_type is MessageType.method_return
        return bytes(late.serialise(serial=8) + reply.serialise(serial=9))

    bus = open_bus(answer)
    with open_system_bus(bus.path) as caller:
        assert caller.has("org.freedesktop.resolve1")
