"""The transport that asyncssh sees where its bytes and ours go the same way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktnet.stream.datapath import DataPath


class Outlet(asyncio.Transport):
    """Stands in front of the real transport, so that nothing overtakes anything."""

    def __init__(self, transport: asyncio.Transport, path: DataPath) -> None:
        super().__init__()
        self._transport = transport
        self._path = path

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Behind what is sealed already."""
        self._path.send_sealed(bytes(data))

    def close(self) -> None:
        """Send what is left, then close."""
        self._path.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what asyncssh sent as its last word still gets its chance."""
        self._path.flush()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the real transport."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes that the stream hasn't taken."""
        return self._transport.get_write_buffer_size()
