"""Laptops that serve HTTP, and callers in a pod that mark their requests, for a meshed Service."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connect_client import Client
from inbound_scene import open_caller, open_command

from ktnet.lab.harness import Lab

TOMCAT = "tomcat.demo.svc.cluster.local"

APP = """
import sys, json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
    def do_GET(self):
        body = json.dumps({"hostname": sys.argv[2], "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 1024

server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
"""
"""The user's process: says its name and the path that it was asked for."""

CALLER = """
import asyncio, json, random, socket, sys, time
host, kind, *rest = sys.argv[1:]
address = socket.gethostbyname(host)

class Connection:
    def __init__(self):
        self.reader = self.writer = None
    async def ask(self, path, mark, baggage=False, body=b""):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(address, 80)
        field = f"version: {mark}\\r\\n" if mark else ""
        if mark and baggage:
            field = f"baggage: a=b, version={mark};p=1\\r\\n"
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\\r\\nHost: {host}\\r\\n{field}"
        if body:
            head += f"Content-Length: {len(body)}\\r\\n"
        self.writer.write(head.encode() + b"\\r\\n" + body)
        head = (await self.reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\\r\\n")[1:-2])
        answer = await self.reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        status = int(head.split()[1])
        if status != 200:
            return str(status), answer.decode()
        found = json.loads(answer)
        return found["hostname"].split("-")[0], found["path"]
    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

async def mix(count, at_once, *marks):
    wrong, numbers = [], iter(range(count))
    asked = dict.fromkeys(marks, 0)
    async def work():
        connection = Connection()
        for number in numbers:
            mark = random.choice(marks)
            asked[mark] += 1
            body = bytes(random.choice((0, 0, 10, 100_000)))
            try:
                async with asyncio.timeout(30):
                    answer = await connection.ask(
                        f"/{number}", "" if mark == "tomcat" else mark, number % 3 == 0, body)
            except (OSError, EOFError, TimeoutError) as error:
                connection.close()
                wrong.append(f"{mark} {number}: {error!r}")
                continue
            if answer != (mark, f"/{number}"):
                wrong.append(f"{mark} {number}: {answer}")
            if number % 10 == 0:
                connection.close()
        connection.close()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return {"asked": asked, "failed": len(wrong), "wrong": wrong[:5]}

async def loop(interval, *marks):
    found = {mark: [] for mark in marks}
    over = asyncio.Event()
    async def work(mark, keeps):
        connection, number = Connection(), 0
        while not over.is_set():
            number += 1
            start = time.time()
            try:
                async with asyncio.timeout(30):
                    name, _ = await connection.ask(f"/{number}", "" if mark == "tomcat" else mark)
            except (OSError, EOFError, TimeoutError) as error:
                name = f"failed: {error!r}"
                connection.close()
            found[mark].append((start, time.time(), name))
            if not keeps:
                connection.close()
            await asyncio.sleep(interval)
        connection.close()
    pipe = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin)
    tasks = [asyncio.ensure_future(work(m, keeps)) for m in marks for keeps in (True, False)]
    print("going", flush=True)
    await pipe.read()
    over.set()
    await asyncio.gather(*tasks)
    return found

if kind == "mix":
    found = asyncio.run(mix(int(rest[0]), int(rest[1]), *rest[2:]))
else:
    found = asyncio.run(loop(float(rest[0]), *rest[1:]))
print(json.dumps(found), flush=True)
"""
"""`mix COUNT AT_ONCE MARKS...` or `loop INTERVAL MARKS...`, where the mark `tomcat` is none."""


@contextmanager
def open_http_app(lab: Lab, name: str, laptop: int = 1, port: int = 8080) -> Iterator[None]:
    """The user's process on a laptop."""
    command = lab.exec(sys.executable, "-c", APP, str(port), name, laptop=laptop)
    with open_process(command, stderr=subprocess.DEVNULL):
        yield


@contextmanager
def open_member(
    lab: Lab,
    name: str,
    *options: str,
    laptop: int = 1,
    service: str = "tomcat",
    expose: str = "8080",
) -> Iterator[Client]:
    """A user whose mark is her name, and who is a member once the context is entered."""
    mark = ("--mode", "auto", "--expose", expose, "--version-mark", name)
    with open_command(lab, "mesh", service, *mark, *options, laptop=laptop) as member:
        member.wait_for("ready")
        lab.settle()
        yield member


def build_caller(lab: Lab, *what: str, host: str = TOMCAT) -> list[str]:
    inside = ["python3", "-c", CALLER, host, *what]
    return lab.exec("kubectl", "-n", "demo", "exec", "-i", "deploy/web", "--", *inside)


def mix(lab: Lab, count: int, at_once: int, *marks: str) -> dict[str, Any]:
    """Requests with these marks in no order, many of them by one connection each time."""
    command = build_caller(lab, "mix", str(count), str(at_once), *marks)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout))


Answers = dict[str, list[tuple[float, float, str]]]


@contextmanager
def open_loop(lab: Lab, interval_s: float, *marks: str) -> Iterator[Answers]:
    """Requests one after the other while the context is open, of each mark by a connection that is
    kept and by new ones; afterwards, of each mark when it was sent, answered and by whom."""
    with open_caller(build_caller(lab, "loop", str(interval_s), *marks)) as found:
        yield found


def names(answers: list[tuple[float, float, str]]) -> set[str]:
    return {name for _, _, name in answers}


def list_failed(answers: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Those that nobody answered."""
    return [each for each in answers if each[2].startswith("failed")]


def enter_pod(pod: str) -> list[str]:
    """What runs the rest of its command line in the pod's network, with this machine's files."""
    name = f"HOSTNAME={pod}".encode()
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):
                if name in (path / "environ").read_bytes().split(b"\0"):
                    return ["nsenter", f"--net=/proc/{path.name}/ns/net", "--"]
    raise AssertionError(f"no process of {pod}")


@contextmanager
def open_process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """One that says when it listens; killed afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        try:
            yield process
        finally:
            process.kill()
