"""A socket beside a flow: what a target does at the worst moment stays its own affair."""

import asyncio
import socket
import struct

from ktnet.stream.relay import RelayedSocket, RelayReceiver

TCP_CLOSE = 7
"""Of include/net/tcp_states.h, the first octet of TCP_INFO."""


class FlowRecord:
    """A flow that notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def write(self, data: bytes) -> None:
        self.said.append(data.decode())

    def write_eof(self) -> None:
        self.said.append("eof")

    def reset(self) -> None:
        self.said.append("reset")


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_a_target_that_has_closed_both_halves_is_no_error_of_the_flow() -> None:
    """FIN, and RST before our own end: asyncio reads no more then, and shutdown() fails."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            loop = asyncio.get_running_loop()
            transport, target = await loop.create_connection(
                RelayedSocket, *server.getsockname()[:2]
            )
            accepted, _ = server.accept()
            receiver, flow = RelayReceiver(target, transport), FlowRecord()
            receiver.opened(flow)
            accepted.sendall(b"bye")
            accepted.shutdown(socket.SHUT_WR)
            await until(lambda: flow.said == ["bye", "eof"])
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
            ours = transport.get_extra_info("socket")
            await until(lambda: ours.getsockopt(socket.SOL_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE)
            receiver.eof_received()
            receiver.closed(reset=False)
            await until(lambda: target.gone)
            assert flow.said == ["bye", "eof"]

    asyncio.run(run())
