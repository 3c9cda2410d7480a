"""gRPC and WebSocket through a router: `python mesh_calls.py serve NAME` on both its sides, and
`python mesh_calls.py call ADDRESS MARK SECONDS` in a pod's network, which prints what it found."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import grpc
from aiohttp import web

GRPC_PORT, WEB_PORT = 9000, 9001
UPLOAD_BYTES = (200 if "KTNET_SOAK" in os.environ else 20) << 20


def serve(name: str) -> None:
    prefix = name.encode() + b":"

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("served-by", name),))
        return prefix + request

    def stream(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield prefix + request

    server = grpc.server(ThreadPoolExecutor(8))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
    server.add_insecure_port(f"0.0.0.0:{GRPC_PORT}")
    server.start()

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{name}:{message.data}")
        return socket

    async def upload(request: web.Request) -> web.Response:
        received = 0
        async for block in request.content.iter_chunked(1 << 20):
            received += len(block)
        return web.json_response({"name": name, "received": received})

    app = web.Application()
    app.add_routes([web.get("/echo", echo), web.post("/upload", upload)])
    web.run_app(app, port=WEB_PORT, print=lambda _: print("listening", flush=True))


def call_grpc(address: str, mark: str, until: float) -> dict[str, int]:
    metadata = (("version", mark),) if mark else ()
    expected = (mark or "tomcat").encode() + b":"
    found = {"unary": 0, "messages": 0, "wrong": 0}
    with grpc.insecure_channel(f"{address}:{GRPC_PORT}") as channel:
        unary, stream = channel.unary_unary("/Echo/Unary"), channel.stream_stream("/Echo/Stream")
        while time.monotonic() < until or not found["unary"]:
            text = str(found["unary"]).encode()
            answer, details = unary.with_call(text, metadata=metadata, timeout=30)
            trailers = dict(details.trailing_metadata())
            found["wrong"] += answer != expected + text
            found["wrong"] += trailers.get("served-by", "").encode() + b":" != expected
            found["unary"] += 1
            sent = [b"%d" % i for i in range(20)]
            answers = list(stream(iter(sent), metadata=metadata, timeout=30))
            found["wrong"] += answers != [expected + each for each in sent]
            found["messages"] += len(answers)
    return found


async def call_web(address: str, mark: str, until: float) -> dict[str, int]:
    headers = {"version": mark} if mark else {}
    name = mark or "tomcat"
    found = {"echoes": 0, "uploaded": 0, "wrong": 0}
    async with aiohttp.ClientSession(f"http://{address}:{WEB_PORT}", headers=headers) as client:

        async def upload() -> None:
            async def blocks():
                for _ in range(UPLOAD_BYTES >> 20):
                    yield bytes(1 << 20)

            async with client.post("/upload", data=blocks()) as response:
                answer = await response.json()
                found["wrong"] += answer != {"name": name, "received": UPLOAD_BYTES}
                found["uploaded"] = answer["received"]

        uploading = asyncio.ensure_future(upload())
        async with client.ws_connect("/echo") as socket:
            while time.monotonic() < until or not uploading.done():
                await socket.send_str(str(found["echoes"]))
                answer = await socket.receive_str(timeout=30)
                found["wrong"] += answer != f"{name}:{found['echoes']}"
                found["echoes"] += 1
                await asyncio.sleep(0.01)
        await uploading
    return found


def call(address: str, mark: str, seconds: float) -> dict[str, int]:
    until = time.monotonic() + seconds
    calls: dict[str, int] = {}
    thread = threading.Thread(target=lambda: calls.update(call_grpc(address, mark, until)))
    thread.start()
    found = asyncio.run(call_web(address, mark, until))
    thread.join()
    return {**found, **calls, "wrong": found["wrong"] + calls.get("wrong", 1)}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        print(json.dumps(call(sys.argv[2], sys.argv[3], float(sys.argv[4]))))
