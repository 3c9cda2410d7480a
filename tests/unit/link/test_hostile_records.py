"""A peer or a wire that doesn't keep to the protocol ends the connection, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
from tunnel_ends import Between, echo, open_flow, open_shadow, open_target, open_tunnel, run, until

from ktnet.errors import RemoteProtocolError
from ktnet.wire.window import LARGEST_BYTES


class Spoiled(Between):
    """Changes one bit of what comes when told to."""

    def __init__(self, protocol):
        super().__init__(protocol)
        self.spoil = False

    def data_received(self, data):
        if self.spoil:
            self.spoil = False
            data = data[:-1] + bytes([data[-1] ^ 1])
        super().data_received(data)


def test_one_bit_that_was_changed_ends_the_connection():
    async def scenario():
        spoiled = []

        async with open_shadow() as ends, open_target(echo) as port:

            async def dial(factory):
                def build():
                    spoiled.append(Spoiled(factory()))
                    return spoiled[-1]

                return await ends.dial(build)

            async with ends.attach(dial) as link:
                receiver = open_flow(link, port)
                flow = await receiver.until_open()
                flow.write(b"before")
                await receiver.until(lambda r: r.data == b"before")
                spoiled[0].spoil = True
                flow.write(b"after")
                assert isinstance(await link.wait_closed(), RemoteProtocolError)
                assert await receiver.until_closed() == "reset"
                assert receiver.data == b"before"
            await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_more_than_the_window_ends_the_connection(ssh_path):
    if ssh_path != "own":
        pytest.skip("asyncssh's own tests are asyncssh's")

    async def flood(sock):
        loop = asyncio.get_running_loop()
        await loop.sock_recv(sock, 1)
        while True:
            await loop.sock_sendall(sock, bytes(1 << 20))

    async def scenario():
        async with open_tunnel() as (link, ends), open_target(flood) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.pause_reading()
            (server_side,) = ends.shadow.flows
            server_side._channel._window = 1 << 30
            flow.write(b"x")
            loss = await link.wait_closed()
            assert isinstance(loss, RemoteProtocolError)
            assert "Window exceeded" in str(loss)
            assert receiver.received <= LARGEST_BYTES

    run(scenario())


def test_data_behind_the_end_ends_the_connection(ssh_path):
    if ssh_path != "own":
        pytest.skip("asyncssh's own tests are asyncssh's")

    async def scenario():
        async with open_tunnel() as (link, ends), open_target(echo) as port:
            receiver = open_flow(link, port)
            await receiver.until_open()
            (server_side,) = ends.shadow.flows
            channel = server_side._channel
            channel.write_eof()
            await receiver.until(lambda r: r.eof)
            channel._send_some(memoryview(b"more"), 0.0)
            assert "Data after EOF" in str(await link.wait_closed())
            assert not receiver.data

    run(scenario())


@pytest.mark.parametrize("kind", [91, 92, 93, 94, 96, 97, 98])
@pytest.mark.parametrize("number", [0xFFFF_FFFF, 1 << 30, (1 << 30) + 7])
def test_a_message_for_no_channel_ends_the_connection(kind, number):
    async def scenario():
        async with open_tunnel() as (link, ends):
            await link.round_trip()  # its channel had the first number
            await until(lambda: not link.traffic.flows_open)
            (server_side,) = ends.shadow.connections
            server_side.send_packet(kind, number.to_bytes(4, "big"), bytes(8))
            assert isinstance(await link.wait_closed(), RemoteProtocolError)

    run(scenario())


@pytest.mark.parametrize("request_", [b"", b"\0\0\0\x0cdirect-tcpip", b"\xff" * 40])
def test_a_malformed_request_for_a_channel_ends_the_connection(request_):
    async def scenario():
        async with open_tunnel() as (link, ends):
            await link.round_trip()
            link._connection.send_packet(90, request_)
            await link.wait_closed()
            await until(lambda: not ends.shadow.connections)

    run(scenario())
