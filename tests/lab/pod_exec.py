"""A command in a pod, as `kubectl exec -i` runs it: `python pod_exec.py KUBECONFIG POD CMD...`.

Over WebSocket with the subprotocol v5.channel.k8s.io, by which stdin can be closed.
https://kubernetes.io/docs/reference/generated/kubernetes-api/ (KEP-4006)
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from pathlib import Path

import aiohttp
import yaml

STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255


async def run(kubeconfig: str, pod: str, command: list[str]) -> int:
    """Its exit code; stdin, stdout and stderr are this process's."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    query = [("command", word) for word in command]
    query += [(stream, "true") for stream in ("stdin", "stdout", "stderr")]
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(
            f"{cluster['server']}/api/v1/namespaces/demo/pods/{pod}/exec",
            params=query,
            protocols=["v5.channel.k8s.io"],
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            ssl=ssl.create_default_context(cadata=authority),
        ) as socket,
    ):
        feeding = asyncio.ensure_future(feed(socket))
        try:
            return await read(socket)
        finally:
            feeding.cancel()


async def feed(socket: aiohttp.ClientWebSocketResponse) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while data := await reader.read(65536):
        await socket.send_bytes(bytes([STDIN]) + data)
    await socket.send_bytes(bytes([CLOSE, STDIN]))


async def read(socket: aiohttp.ClientWebSocketResponse) -> int:
    code = 1
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STATUS:
            code = find_exit_code(json.loads(data))
        elif channel in (STDOUT, STDERR):
            out = sys.stdout.buffer if channel == STDOUT else sys.stderr.buffer
            out.write(data)
            out.flush()
    return code


def find_exit_code(status: dict) -> int:
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or []
    return next((int(c["message"]) for c in causes if c.get("reason") == "ExitCode"), 1)


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3:])))
