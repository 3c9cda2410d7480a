"""Strict reading of JSON: every field of the right type, within its bounds, and none left over.

Pure. A helper with root's rights reads what an unprivileged process wrote: whatever is not exactly
as agreed is refused with RemoteProtocolError.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

from ktnet.errors import RemoteProtocolError

_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
MAX_DOMAIN = 253
"""Octets of a domain name in text form, without the final dot (RFC 1035 section 2.3.4)."""


def parse_object(data: bytes, what: str, max_bytes: int) -> Fields:
    """The JSON object in `data`, for reading field by field. Raises RemoteProtocolError."""
    if len(data) > max_bytes:
        raise RemoteProtocolError(f"{what} has {len(data)} bytes, more than {max_bytes}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not JSON") from error
    return Fields(value, what)


def is_domain(text: str) -> bool:
    """Whether this is a domain name of letters, digits, hyphens and underscores."""
    return len(text) <= MAX_DOMAIN and all(_DOMAIN.fullmatch(label) for label in text.split("."))


class Fields:
    """The fields of one JSON object; each is taken once, and `end` finds the one too many."""

    def __init__(self, value: Any, what: str) -> None:
        if type(value) is not dict:
            raise RemoteProtocolError(f"{what} is not a JSON object")
        self._left: dict[str, Any] = dict(value)
        self._what = what

    def text(self, name: str, max_length: int, pattern: str = r"[^\x00-\x1f\x7f]*") -> str:
        """A string of at most `max_length` characters, all of it as `pattern` says."""
        return self._checked_text(self._take(name, str), name, max_length, pattern)

    def texts(
        self, name: str, max_items: int, max_length: int, pattern: str = r"[^\x00-\x1f\x7f]*"
    ) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(
            self._checked_text(item, name, max_length, pattern)
            for item in self._take_list(name, max_items)
        )

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        value: int = self._take(name, int)
        if not low <= value <= high:
            raise self._wrong(name)
        return value

    def flag(self, name: str) -> bool:
        """true or false."""
        value: bool = self._take(name, bool)
        return value

    def address(self, name: str) -> IPv4Address:
        """An IPv4 address."""
        try:
            return IPv4Address(self._take(name, str))
        except ValueError as error:
            raise self._wrong(name) from error

    def network(self, name: str) -> IPv4Network:
        """An IPv4 network "address/length", no host bits set."""
        return self._checked_network(self._take(name, str), name)

    def networks(self, name: str, max_items: int) -> tuple[IPv4Network, ...]:
        """A list of IPv4 networks, none twice."""
        items = self._take_list(name, max_items)
        networks = tuple(self._checked_network(item, name) for item in items)
        if len(set(networks)) != len(networks):
            raise self._wrong(name)
        return networks

    def networks6(self, name: str, max_items: int) -> tuple[IPv6Network, ...]:
        """A list of IPv6 networks."""
        items = self._take_list(name, max_items)
        if not all(type(item) is str and "/" in item for item in items):
            raise self._wrong(name)
        try:
            return tuple(map(IPv6Network, items))
        except ValueError as error:
            raise self._wrong(name) from error

    def domains(self, name: str, max_items: int) -> tuple[str, ...]:
        """A list of domain names."""
        items = self._take_list(name, max_items)
        if not all(type(item) is str and is_domain(item) for item in items):
            raise self._wrong(name)
        return tuple(items)

    def object(self, name: str) -> Fields:
        """An object inside this one."""
        return Fields(self._take(name, dict), f"{self._what}: {name}")

    def objects(self, name: str, max_items: int) -> tuple[Fields, ...]:
        """A list of objects."""
        items = self._take_list(name, max_items)
        return tuple(Fields(item, f"{self._what}: {name}") for item in items)

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self._left

    def take_null(self, name: str) -> bool:
        """Whether the field is null; if so, it is taken."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return True
        return False

    def end(self) -> None:
        """Nothing may be left over."""
        if self._left:
            raise RemoteProtocolError(f"{self._what} has an unknown field")

    def _take(self, name: str, kind: type) -> Any:
        value = self._left.pop(name, None)
        if type(value) is not kind:  # exactly: True is an int to isinstance
            raise self._wrong(name)
        return value

    def _take_list(self, name: str, max_items: int) -> list[Any]:
        items: list[Any] = self._take(name, list)
        if len(items) > max_items:
            raise self._wrong(name)
        return items

    def _checked_text(self, value: Any, name: str, max_length: int, pattern: str) -> str:
        if type(value) is not str or len(value) > max_length or not re.fullmatch(pattern, value):
            raise self._wrong(name)
        return value

    def _checked_network(self, value: Any, name: str) -> IPv4Network:
        if type(value) is not str or "/" not in value:
            raise self._wrong(name)
        try:
            return IPv4Network(value)
        except ValueError as error:
            raise self._wrong(name) from error

    def _wrong(self, name: str) -> RemoteProtocolError:
        return RemoteProtocolError(f'{self._what}: the field "{name}" is missing or wrong')
