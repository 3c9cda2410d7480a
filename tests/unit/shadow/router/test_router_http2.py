"""HTTP/2 through the router: gRPC's own client and server, and a client that does odd things."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc
import pytest
from http2_scene import Client, serve_h2
from router_scene import LIMIT_S

from ktnet.shadow.destinations import Origin
from ktnet.shadow.router.goaway import build_goaway
from ktnet.shadow.router.listener import Expected, open_router_port
from ktnet.shadow.router.table import Table

MARK = (("version", "alice"),)


def open_grpc_server(name: str) -> tuple[grpc.Server, int]:
    """Unary: name and request; streaming: each message back, with the name."""
    prefix = name.encode() + b":"

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("served-by", name),))
        return prefix + request

    def stream(requests, context: grpc.ServicerContext):
        for request in requests:
            yield prefix + request

    def failing(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
        return b""

    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "Echo",
                {
                    "Unary": grpc.unary_unary_rpc_method_handler(unary),
                    "Stream": grpc.stream_stream_rpc_method_handler(stream),
                    "Failing": grpc.unary_unary_rpc_method_handler(failing),
                },
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@asynccontextmanager
async def open_grpc_scene():
    origin, origin_port = open_grpc_server("origin")
    laptop, laptop_port = open_grpc_server("laptop")
    try:
        table = Table(Origin("127.0.0.1", origin_port))
        table.add("version", "alice", Origin("127.0.0.1", laptop_port))
        table.add("version", "nobody", Origin("127.0.0.1", 1))
        async with open_router_port("127.0.0.1", 0, table, Expected.UNKNOWN) as port:
            yield port, origin
    finally:
        origin.stop(None).wait()
        laptop.stop(None).wait()


def calling(function):
    """Runs a blocking gRPC client in a thread while the router runs in the loop."""

    async def run() -> None:
        async with open_grpc_scene() as (port, origin):
            async with asyncio.timeout(LIMIT_S * 3):
                await asyncio.to_thread(call, port.number, origin)

    def call(number: int, origin: grpc.Server) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{number}") as channel:
            function(channel, origin)

    return lambda: asyncio.run(run())


@calling
def run_unary(channel: grpc.Channel, _origin: grpc.Server) -> None:
    call = channel.unary_unary("/Echo/Unary")
    for i in range(50):
        text = str(i).encode()
        assert call(text) == b"origin:" + text
        answer, details = call.with_call(text, metadata=MARK)
        assert answer == b"laptop:" + text
        assert ("served-by", "laptop") in details.trailing_metadata()
        assert call(text, metadata=(("baggage", "version=alice"),)) == b"laptop:" + text
    big = bytes(3_000_000)
    assert call(big, metadata=MARK) == b"laptop:" + big


@calling
def run_streaming(channel: grpc.Channel, _origin: grpc.Server) -> None:
    call = channel.stream_stream("/Echo/Stream")
    marked = call(iter([b"%d" % i for i in range(500)]), metadata=MARK)
    plain = call(iter([b"x" * 10000] * 200))
    assert [*plain] == [b"origin:" + b"x" * 10000] * 200
    assert [*marked] == [b"laptop:%d" % i for i in range(500)]


@calling
def run_failures(channel: grpc.Channel, origin: grpc.Server) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/Echo/Failing")(b"", metadata=MARK)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not today"
    unary = channel.unary_unary("/Echo/Unary")
    with pytest.raises(grpc.RpcError) as failed:
        unary(b"", metadata=(("version", "nobody"),))
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert unary(b"", metadata=MARK) == b"laptop:"  # the connection is as good as before


@calling
def run_cancel(channel: grpc.Channel, _origin: grpc.Server) -> None:
    call = channel.stream_stream("/Echo/Stream")

    def endless():
        while True:
            yield b"x" * 1000

    answers = call(endless(), metadata=MARK)
    for _ in range(10):
        next(answers)
    answers.cancel()
    assert channel.unary_unary("/Echo/Unary")(b"on") == b"origin:on"


def test_unary_calls():
    run_unary()


def test_streaming_calls():
    run_streaming()


def test_failures_and_trailers():
    run_failures()


def test_cancelled_stream_ends_alone():
    run_cancel()


@pytest.mark.parametrize("goaway", [False, True])
def test_streams_survive_the_goaway_of_an_old_connection(goaway: bool):
    async def run() -> None:
        server = await asyncio.start_server(lambda r, w: serve_h2(r, w, goaway), "127.0.0.1", 0)
        table = Table(Origin("127.0.0.1", server.sockets[0].getsockname()[1]))
        async with open_router_port("127.0.0.1", 0, table, Expected.HTTP) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
            client = Client(reader, writer)
            for stream in (1, 3, 5):
                client.get(stream)
                assert await client.collect(1) == {stream: b"ok"}
            writer.close()
            await writer.wait_closed()
        server.close()

    asyncio.run(run())


def test_draining_router_finishes_streams_and_takes_no_more():
    async def run() -> None:
        server = await asyncio.start_server(
            lambda r, w: serve_h2(r, w, goaway=False), "127.0.0.1", 0
        )
        table = Table(Origin("127.0.0.1", server.sockets[0].getsockname()[1]))
        async with open_router_port("127.0.0.1", 0, table, Expected.HTTP) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
            client = Client(reader, writer)
            client.get(1)
            await client.collect(1)
            draining = asyncio.ensure_future(port.drain(LIMIT_S))
            data = b""
            async with asyncio.timeout(LIMIT_S):
                while build_goaway(2**31 - 1) not in data:
                    data += await reader.read(65536)
            writer.close()
            await writer.wait_closed()
            await draining
        server.close()

    asyncio.run(run())
