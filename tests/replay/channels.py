"""Replays a recorded WebSocket, frame by frame: the client's frames go out when the server has said
as much as it had in the recording, and then what it said is compared, channel by channel."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import re
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from multidict import CIMultiDict
from recordings import Case
from replaying import Lab, parse_answer
from verdicts import MATCHED, WRONG, Verdict, judge

CLOSE = 8
OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": CLOSE, "ping": 9, "pong": 10}
STEP_LIMIT_S, END_LIMIT_S = 30.0, 30.0
"""Only where something is missing is so long waited: a busy machine takes its time."""

VOLATILE = (
    (rb"peer=\('127\.0\.0\.1', \d+\)", b"peer=P"),
    (rb"tcp4? 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+", b"tcp P->P"),
    (rb"[0-9a-f]{64}", b"HASH"),
    (rb"/var/run/netns/cni-[0-9a-f-]{36}", b"NETNS"),
)
"""In what servers in pods and runtimes say: ports of the moment, ids of sandboxes and processes."""


def normalise(data: bytes) -> bytes:
    for pattern, fixed in VOLATILE:
        data = re.sub(pattern, fixed, data)
    return data


class Transcript:
    """What a server said on each channel, and how it closed."""

    def __init__(self, *, encoded: bool) -> None:
        self._encoded = encoded
        self.channels: dict[int, bytes] = {}
        self.lengths: dict[int, int] = {}
        self.close_code: int | None = None
        self.pongs: list[bytes] = []
        self.whole = True
        self.cut = False
        """Frames were left out of the recording."""

    def add(self, payload: bytes, length: int | None = None) -> None:
        """A frame's payload; of a cut one its real length."""
        if not payload:
            self.channels.setdefault(-1, b"")
            return
        channel, data = payload[0], payload[1:]
        if self._encoded:
            channel, data = channel - ord("0"), base64.b64decode(data)
        if length is not None and length > len(payload):
            self.whole = False
        self.channels[channel] = self.channels.get(channel, b"") + data
        extra = (length - len(payload)) if length is not None and not self._encoded else 0
        self.lengths[channel] = self.lengths.get(channel, 0) + len(data) + extra

    def count(self, channel: int) -> int:
        data = self.channels.get(channel, b"")
        return self.lengths.get(channel, 0) - len(data) + len(normalise(data))

    def has_as_much_as(self, other: Transcript) -> bool:
        return len(self.pongs) >= len(other.pongs) and all(
            channel in self.channels and self.count(channel) >= other.count(channel)
            for channel in other.channels
        )


class Connection:
    """A client's end, down to the frames."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Transcript
    ) -> None:
        self.reader, self.writer, self.heard = reader, writer, heard
        self.ended = False
        self._progress = asyncio.Event()

    async def listen(self) -> None:
        """Until the server closes or is gone."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.heard.close_code is None:
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length == 126:
                    (length,) = struct.unpack(">H", await self.reader.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(length)
                if first & 0xF == CLOSE:
                    self.heard.close_code = int.from_bytes(payload[:2], "big")
                elif first & 0xF == OPCODES["pong"]:
                    self.heard.pongs.append(payload)
                elif first & 0xF < CLOSE:
                    self.heard.add(payload)
                self._progress.set()
        self.ended = True
        self._progress.set()

    async def wait_for(self, wanted: Transcript, limit_s: float) -> None:
        """Until the server has said that much, or has ended; or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not self.ended and not self.heard.has_as_much_as(wanted):
                    self._progress.clear()
                    await self._progress.wait()

    async def wait_for_end(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S):
                while not self.ended:
                    self._progress.clear()
                    await self._progress.wait()

    async def send(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        head = bytes([opcode | (0x80 if fin else 0)])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 2**16:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        # A mask of zeros is a mask: the bytes go out as they are.
        with contextlib.suppress(ConnectionError):
            self.writer.write(head + bytes(4) + payload)
            await self.writer.drain()


Act = Callable[[str], Awaitable[Sequence[str]]]
"""Does what was done meanwhile, or looks for what was seen; says what differs."""


async def replay_channels(
    lab: Lab, name: str, *, token: str | None = None, act: Act | None = None, paced: bool = False
) -> None:
    """Records what becomes of a case; `act` takes each action that was recorded beside the frames.

    `paced` says that it is the recorded times at which the client speaks, by the loop's clock.
    """
    case = lab.folder.cases[name]
    reader, writer = await lab.open_stream()
    try:
        writer.write(build_request(lab, case, lab.admin if token is None else token))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, headers = parse_head(head)
        if status != 101:
            body = await reader.readexactly(int(headers.get("Content-Length", 0)))
            answer = parse_answer(body) if body or case.answer else case.answer
            differences = lab.compare_answer(case, headers, answer)
            lab.folder.record(name, judge(status, parse_answer(body), case.status, differences))
            return
        if case.status != 101:
            lab.folder.record(name, Verdict(WRONG, (f"101 instead of {case.status}",)))
            return
        differences = await talk(case, reader, writer, headers, act, paced=paced)
        lab.folder.record(
            name, Verdict(WRONG, tuple(differences)) if differences else Verdict(MATCHED)
        )
    finally:
        writer.transport.abort()


async def talk(
    case: Case,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    headers: Any,
    act: Act | None,
    *,
    paced: bool,
) -> list[str]:
    recorded = case.document["websocket"]
    encoded = "base64" in str(recorded["negotiated_subprotocol"])
    wanted, heard = Transcript(encoded=encoded), Transcript(encoded=encoded)
    connection = Connection(reader, writer, heard)
    left = False
    seen: list[str] = []
    clock = asyncio.get_running_loop().time
    began_s = clock()
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(connection.listen())
        for frame in iterate_frames(recorded["frames"]):
            if paced:
                await asyncio.sleep(max(0.0, began_s + frame["t"] - clock()))
            if "action" in frame:
                if "drops TCP" in frame["action"]:
                    left = True
                    writer.transport.abort()
                elif act is not None:
                    await connection.wait_for(wanted, STEP_LIMIT_S)
                    seen += await act(frame["action"])
            elif "frames_omitted" in frame:
                wanted.cut = True
            elif frame["direction"] == "server":
                if frame["opcode_name"] == "close":
                    wanted.close_code = frame.get("close_code")
                elif frame["opcode_name"] == "pong":
                    wanted.pongs.append(bytes.fromhex(frame["hex"]))
                elif frame["opcode"] < CLOSE:
                    wanted.add(bytes.fromhex(frame["hex"]), frame["length"])
            elif wanted.close_code is None and not left:
                await connection.wait_for(wanted, STEP_LIMIT_S)
                payload = bytes.fromhex(frame["hex"]).ljust(frame["length"], b"\0")
                fin = bool(frame["fin"])
                await connection.send(OPCODES[frame["opcode_name"]], payload, fin=fin)
        await connection.wait_for(wanted, STEP_LIMIT_S)
        if wanted.close_code is not None:
            await connection.wait_for_end()
        listening.cancel()
    differences = [*seen, *compare_transcripts(wanted, heard)]
    chosen = headers.get("Sec-WebSocket-Protocol")
    if chosen != recorded["negotiated_subprotocol"]:
        differences.append(f"subprotocol {chosen} instead of {recorded['negotiated_subprotocol']}")
    return differences


def iterate_frames(frames: list[dict]) -> Iterator[dict]:
    frames = list(frames)
    for place, (one, other) in enumerate(itertools.pairwise(frames)):
        directions = one.get("direction"), other.get("direction")
        if directions == ("server", "client") and one["hex"] == other["hex"]:
            # An echo that was noted before what it echoes.
            frames[place : place + 2] = other, one
    return (
        frame
        for frame in frames
        if "action" in frame or "opcode_name" in frame or "frames_omitted" in frame
    )


def compare_transcripts(wanted: Transcript, heard: Transcript) -> Iterator[str]:
    if wanted.channels.keys() != heard.channels.keys():
        yield f"channels {sorted(heard.channels)} instead of {sorted(wanted.channels)}"
    for channel in wanted.channels.keys() & heard.channels.keys():
        right, found = normalise(wanted.channels[channel]), normalise(heard.channels[channel])
        if wanted.whole and right != found:
            yield f"channel {channel}: {found!r:.900} instead of {right!r:.900}"
        elif not wanted.whole and not wanted.cut:
            lengths = wanted.lengths.get(channel), heard.lengths.get(channel)
            if lengths[0] != lengths[1]:
                yield f"channel {channel}: {lengths[1]} bytes, not {lengths[0]}: {found!r:.900}"
    if wanted.pongs != heard.pongs:
        yield f"pongs {heard.pongs} instead of {wanted.pongs}"
    if wanted.close_code != heard.close_code:
        yield f"close code {heard.close_code} instead of {wanted.close_code}"


def build_request(lab: Lab, case: Case, token: str) -> bytes:
    path = quote(lab.folder.renamer.text(case.path))
    query = urlencode([(key, lab.folder.renamer.text(value)) for key, value in case.query])
    skipped = {"host", "connection"}
    headers = {key: value for key, value in case.headers.items() if key.lower() not in skipped}
    headers["Host"] = "127.0.0.1"
    if "Upgrade" in headers:
        headers["Connection"] = "Upgrade"
        headers.setdefault("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode())
    if token:
        headers["Authorization"] = f"Bearer {token}"
    lines = [f"{case.method} {path}{'?' if query else ''}{query} HTTP/1.1"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def parse_head(head: str) -> tuple[int, CIMultiDict[str]]:
    first, *lines = head.strip().split("\r\n")
    headers = CIMultiDict(
        [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    )
    return int(first.split()[1]), headers
