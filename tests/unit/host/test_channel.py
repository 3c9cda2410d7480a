"""The client's end of the socket pair, against a helper that does odd things."""

import array
import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import pytest

from ktnet.errors import DnsError, HostNetworkError, RemoteProtocolError
from ktnet.host.channel import Channel, Patience
from ktnet.host.replies import Done, build_reply
from ktnet.host.requests import FactsRequest, ReleaseRequest, parse_request


def run(test: Callable[[Channel, socket.socket], Awaitable[None]]) -> None:
    """Runs a test with a channel and the helper's end, and finds descriptors left open."""

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            channel = Channel(ours)
            await test(channel, theirs)
            theirs.close()
            await channel.close(Patience())

    before = os.listdir("/proc/self/fd")  # noqa: PTH208 -- names are enough
    asyncio.run(main())
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def send(theirs: socket.socket, data: bytes, descriptors: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    theirs.sendmsg([data], rights if descriptors else [])


def test_a_question_and_its_reply() -> None:
    async def test(channel: Channel, theirs: socket.socket) -> None:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(channel.ask(ReleaseRequest(), descriptors=2))
            await asyncio.sleep(0)
            number, request = parse_request(theirs.recv(1000))
            assert request == ReleaseRequest()
            send(theirs, build_reply(number, Done(("n",))), [0, 0])
            reply, descriptors = await asking
        assert reply == Done(("n",))
        for descriptor in descriptors:
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)

    run(test)


@pytest.mark.parametrize(
    ("data", "descriptors", "error"),
    [
        (build_reply(1, DnsError("port 53 is taken")), [0], DnsError),
        (build_reply(1, Done()), [0, 0], RemoteProtocolError),
        (b"garbage", [0, 0, 0], RemoteProtocolError),
        (b"", [], HostNetworkError),
    ],
)
def test_a_reply_that_is_none(data: bytes, descriptors: list[int], error: type) -> None:
    async def test(channel: Channel, theirs: socket.socket) -> None:
        if data:
            send(theirs, data, descriptors)
        else:
            theirs.close()
        with pytest.raises(error):
            await channel.ask(FactsRequest(), descriptors=1)

    run(test)


def test_a_late_reply_is_dropped_with_its_descriptors() -> None:
    async def test(channel: Channel, theirs: socket.socket) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await channel.ask(FactsRequest())
        send(theirs, build_reply(1, Done()), [0, 0, 0])
        send(theirs, build_reply(2, Done()), [])
        assert await channel.ask(FactsRequest()) == (Done(), [])

    run(test)


@pytest.mark.parametrize("turns", range(6))
def test_descriptors_are_not_lost_where_reply_and_cancellation_meet(turns: int) -> None:
    async def test(channel: Channel, theirs: socket.socket) -> None:
        asking = asyncio.ensure_future(channel.ask(FactsRequest(), descriptors=1))
        await asyncio.sleep(0)
        send(theirs, build_reply(1, Done()), [0])
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            os.close(asking.result()[1][0])
        assert await settled(channel, theirs)

    async def settled(channel: Channel, theirs: socket.socket) -> bool:
        send(theirs, build_reply(2, Done()), [])
        return await channel.ask(FactsRequest()) == (Done(), [])

    run(test)


def test_patience_outlasts_cancellation_and_passes_it_on() -> None:
    async def main() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen = []

        async def waiting() -> None:
            patience = Patience()
            seen.append(await patience.wait(future))
            patience.end()
            seen.append("not cancelled")

        task = asyncio.ensure_future(waiting())
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert seen == []
        future.set_result(None)
        await asyncio.wait([task])
        assert task.cancelled()
        assert seen == [True]

    asyncio.run(main())
