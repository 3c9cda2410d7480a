"""Processes on the laptop that the cluster's callers reach, and callers in pods of the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connect_client import Client
from forked_command import Forked, run_command

from ktnet.lab.harness import Lab

CALL_TIMEOUT_S = 600.0 if "KTNET_SOAK" in os.environ else 100.0
"""For a caller to end: full counts on a busy machine take minutes."""

ECHO = """
import asyncio, hashlib, socket, struct, sys

async def serve(reader, writer):
    try:
        await answer(reader, writer)
    except OSError:
        pass

async def answer(reader, writer):
    # A request is one line: "id N" | "sum" (until EOF) | "source N" | "reset" | "late"
    line = (await reader.readline()).decode().split()
    kind = line[0] if line else ""
    if kind == "id":
        writer.write(f"{NAME} {line[1]} {writer.get_extra_info('peername')[0]}\\n".encode())
    elif kind == "hold":
        writer.write(b"held\\n")
        await reader.read()
        writer.write(b"over\\n")
    elif kind == "sum":
        digest = hashlib.sha256()
        while data := await reader.read(1 << 18):
            digest.update(data)
        writer.write(digest.hexdigest().encode() + b"\\n")
    elif kind == "source":
        block = bytes(range(256)) * 4096
        for _ in range(int(line[1])):
            writer.write(block)
            await writer.drain()
    elif kind == "reset":
        linger = struct.pack("ii", 1, 0)
        sock = writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        return
    await writer.drain()
    writer.close()
    await writer.wait_closed()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("listening", flush=True)
    await server.serve_forever()

NAME = sys.argv[2]
asyncio.run(main())
"""
"""The user's process: says its name, hashes what it gets, sends, holds, resets."""

CALLER = """
import asyncio, contextlib, hashlib, json, socket, sys, time
host, port, what = socket.gethostbyname(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

async def ask(text, connected=lambda: None):
    reader, writer = await asyncio.open_connection(host, port)
    connected()
    try:
        writer.write(text.encode())
        writer.write_eof()
        return (await reader.read()).decode()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

async def ids(count, at_once):
    wrong, numbers = [], iter(range(count))
    async def work():
        for number in numbers:
            try:
                answer = await ask(f"id {number}\\n")
            except OSError as error:
                answer = repr(error)
            if answer.split()[1:2] != [str(number)]:
                wrong.append(answer)
    await asyncio.gather(*(work() for _ in range(at_once)))
    return {"asked": count, "wrong": wrong[:5], "failed": len(wrong)}

async def loop(rate):
    names, failures, count = {}, [], 0
    async def one():
        began, connected = time.time(), []
        try:
            async with asyncio.timeout(20):
                answer = await ask("id 1\\n", lambda: connected.append(time.time()))
            name = answer.split()[0]
            names[name] = names.get(name, 0) + 1
        except (OSError, IndexError, TimeoutError) as error:
            failures.append([began, *(connected or [None]), time.time(), repr(error)])
    pipe = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin)
    ended = asyncio.ensure_future(pipe.read())
    start, tasks = asyncio.get_running_loop().time(), set()
    print("going", flush=True)
    while not ended.done():
        task = asyncio.ensure_future(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        count += 1
        await asyncio.wait([ended], timeout=max(0, start + count / rate
                                                - asyncio.get_running_loop().time()))
    if tasks:
        await asyncio.wait(tasks)
    return {"count": count, "names": names, "failed": len(failures), "failures": failures}

async def bulk(mib):
    block = bytes(range(256)) * 4096
    expected = hashlib.sha256()
    for _ in range(mib):
        expected.update(block)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"sum\\n")
    for _ in range(mib):
        writer.write(block)
        await writer.drain()
    writer.write_eof()
    up = (await reader.read()).decode().strip() == expected.hexdigest()
    writer.close()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"source {mib}\\n".encode())
    found = hashlib.sha256()
    while data := await reader.read(1 << 18):
        found.update(data)
    writer.close()
    return {"up": up, "down": found.digest() == expected.digest()}

async def many(count):
    connections = [await asyncio.open_connection(host, port) for _ in range(count)]
    for _, writer in connections:
        writer.write(b"hold\\n")
    held = [await reader.readline() for reader, _ in connections]
    for _, writer in connections:
        writer.write_eof()
    over = [await reader.read() for reader, _ in connections]
    for _, writer in connections:
        writer.close()
    return {"held": held.count(b"held\\n"), "over": over.count(b"over\\n")}

async def once(text):
    try:
        return {"answer": await ask(text.replace("+", " ") + "\\n")}
    except OSError as error:
        return {"error": type(error).__name__}

kind, *rest = what
work = {"ids": ids, "loop": loop, "bulk": bulk, "many": many, "once": once}[kind]
arguments = [each if kind == "once" else float(each) if "." in each else int(each) for each in rest]
print(json.dumps(asyncio.run(work(*arguments))), flush=True)
"""
"""A caller: HOST PORT, and what to do there; one line of JSON at its end."""


def kubectl(lab: Lab, *arguments: str) -> str:
    return lab.run("kubectl", "-n", "demo", *arguments)


@contextmanager
def open_app(lab: Lab, port: int, name: str = "laptop", laptop: int = 1) -> Iterator[int]:
    """The user's process on the laptop; yields its pid."""
    process = subprocess.Popen(
        lab.exec(sys.executable, "-c", ECHO, str(port), name, laptop=laptop),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        try:
            yield process.pid
        finally:
            process.kill()


def build_caller(lab: Lab, host: str, port: int, *what: str) -> list[str]:
    """A command that calls from a pod of the cluster."""
    inside = ["python3", "-c", CALLER, host, str(port), *what]
    return lab.exec("kubectl", "-n", "demo", "exec", "-i", "deploy/web", "--", *inside)


def call(lab: Lab, host: str, port: int, *what: str) -> dict[str, Any]:
    """What a caller in a pod finds."""
    done = subprocess.run(
        build_caller(lab, host, port, *what),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=CALL_TIMEOUT_S,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def open_loop(lab: Lab, host: str, port: int, rate: int = 50) -> Iterator[dict[str, Any]]:
    """Requests at this rate while the context is open, each by a connection of its own; what came
    of them is in the yielded dictionary afterwards: of each failure when it began, when it was
    connected (None: never), when it ended (time.time), and the error."""
    with open_caller(build_caller(lab, host, port, "loop", str(rate))) as found:
        yield found


@contextmanager
def open_caller(command: list[str]) -> Iterator[dict[str, Any]]:
    """A program that says "going" and goes on until its input ends; its last line, a JSON object,
    is in the yielded dictionary afterwards."""
    found: dict[str, Any] = {}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        try:
            yield found
        finally:
            out, _ = process.communicate(timeout=60)
            found.update(json.loads(out.splitlines()[-1]))


@contextmanager
def open_command(lab: Lab, *command: str, laptop: int = 1) -> Iterator[Client]:
    """`ktnet COMMAND -n demo`, begun; killed afterwards where it hasn't ended."""
    name, *rest = command
    with Forked(lab, name, "-n", "demo", *rest, laptop=laptop) as process:
        yield Client(process)


def fails(lab: Lab, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a ktnet command that has to fail without a traceback."""
    name, *rest = command
    ended = run_command(lab, name, "-n", "demo", *rest)
    assert "Traceback" not in ended.err
    assert ended.err.startswith("ktnet: "), ended.err
    return ended.code, ended.err
