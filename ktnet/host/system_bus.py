"""Calls on the system bus, as root's helper makes them: one at a time, each over within a bound.

D-Bus Specification, https://dbus.freedesktop.org/doc/dbus-specification.html; the messages are
jeepney's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageFlag, MessageType, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.low_level import Parser, SizeLimitError

from ktnet.errors import DnsError

SOCKET = Path("/run/dbus/system_bus_socket")
"""Fixed: what the environment says of it doesn't count for a helper with root's rights."""

CALL_TIME_S = 5.0
"""Answers take milliseconds. The default of D-Bus libraries is 25 s, in which nobody could tell
what is being waited for."""

MAX_MESSAGE_BYTES = 1 << 20
"""What is asked for here is answered in a few octets."""

_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")


class BusRefusal(DnsError):
    """Whoever was called gave an error: `name` is that of D-Bus."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class SystemBus:
    """A connection to the bus; see `open_system_bus`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._parser = Parser()
        self._serial = 0

    def has(self, name: str) -> bool:
        """Whether somebody has this name on the bus now; nobody is started for it."""
        (found,) = self.call(_BUS, "NameHasOwner", "s", (name,))
        return found is True

    def call(
        self, target: DBusAddress, method: str, signature: str = "", arguments: tuple[Any, ...] = ()
    ) -> tuple[Any, ...]:
        """What the method returns. Raises BusRefusal, DnsError (bus gone, no answer in time)."""
        message = new_method_call(target, method, signature or None, arguments)
        message.header.flags = MessageFlag.no_auto_start
        self._serial += 1
        with _explained(f"{method} of {target.bus_name}"):
            self._connection.sendall(message.serialise(serial=self._serial))
            reply = self._receive(time.monotonic() + CALL_TIME_S)
        if reply.header.message_type is MessageType.error:
            name = str(reply.header.fields.get(HeaderFields.error_name, ""))
            text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else name
            raise BusRefusal(name, f"{target.bus_name} refuses {method}: {text}")
        return tuple(reply.body)

    def _receive(self, deadline_s: float) -> Message:
        """The reply to the last call; signals, and late replies to others, are passed over."""
        while True:
            message = self._parser.get_next_message()
            if message is None:
                if self._parser.bytes_desired() > MAX_MESSAGE_BYTES:
                    raise DnsError("a message on the system bus is too large")
                self._connection.settimeout(max(0.001, deadline_s - time.monotonic()))
                self._parser.add_data(_received(self._connection))
            elif message.header.fields.get(HeaderFields.reply_serial) == self._serial:
                return message


@contextmanager
def open_system_bus(path: Path = SOCKET) -> Iterator[SystemBus]:
    """A connection, made as the user that we run as. Raises DnsError where there is no bus."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(CALL_TIME_S)
        with _explained("the system bus"):
            connection.connect(str(path))
            authenticator = Authenticator()
            for line in authenticator:
                connection.sendall(line)
                authenticator.feed(_received(connection))
            connection.sendall(BEGIN)
        bus = SystemBus(connection)
        bus.call(_BUS, "Hello")
        yield bus


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(4096)
    if not data:
        raise ConnectionResetError("the system bus has closed the connection")
    return data


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise DnsError(f"{what} gave no answer within {CALL_TIME_S:.0f} s") from error
    except (OSError, AuthenticationError, SizeLimitError) as error:
        raise DnsError(f"{what} can't be asked: {error}") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:  # jeepney's, of a bad message
        raise DnsError(f"{what} sent what is no D-Bus message") from error
