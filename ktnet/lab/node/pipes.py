"""Pipes and other descriptors between the daemon and the processes of the lab."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

from ktnet.lab.node.log import ContainerLog

READ_SIZE = 64 << 10


async def wait_readable(descriptor: int) -> None:
    """Until a read would not block."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _set_done, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def wait_writable(descriptor: int) -> None:
    """Until a write would not block, or nobody reads any more."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _set_done, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class LogPipe:
    """The pipe that a container prints into."""

    def __init__(self, write_end: int) -> None:
        self.write_end = write_end
        self._open = True

    def close_write_end(self) -> None:
        if self._open:
            self._open = False
            os.close(self.write_end)


@contextlib.contextmanager
def open_log_pipe(log: ContainerLog) -> Iterator[LogPipe]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pipe = LogPipe(write_end)
    with reading_into(log, read_end):
        try:
            yield pipe
        finally:
            pipe.close_write_end()


@contextlib.contextmanager
def open_null() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reading_into(log: ContainerLog, descriptor: int) -> Iterator[None]:
    """Feeds the log from a pipe meanwhile, and closes the pipe."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)

    def read() -> None:
        data = os.read(descriptor, READ_SIZE)
        if data:
            log.feed(data)
        else:
            loop.remove_reader(descriptor)
            log.feed_eof()

    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not log.ended:
            log.feed_eof()
