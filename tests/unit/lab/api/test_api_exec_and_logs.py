"""Exec over a WebSocket, and pods/log."""

import asyncio
import json

import pytest
from aiohttp import WSMsgType
from apilab import Log, build_pod, open_lab, run_pod, until

POD = "/api/v1/namespaces/demo/pods/p"
SECOND = 10**9
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"


def with_lab(scenario):
    async def run():
        async with open_lab() as lab:
            run_pod(lab.store, "p")
            await scenario(lab)

    asyncio.run(run())


def execute(lab, *command, protocols=(V5,), **flags):
    query = "&".join(f"command={part}" for part in command)
    query += "".join(f"&{flag}=true" for flag in ("stdout", "stderr", *flags))
    return lab.socket(f"{POD}/exec?{query}", *protocols)


async def collect(ws):
    """What came on each channel until the close."""
    channels = {}
    while (message := await ws.receive()).type == WSMsgType.BINARY:
        channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1000)
    return channels


def test_output_and_success():
    async def scenario(lab):
        async with execute(lab, "sh", "-c", "echo out; echo err >%262") as ws:
            found = await collect(ws)
        assert (found[1], found[2]) == (b"out\n", b"err\n")
        assert json.loads(found[3]) == {"metadata": {}, "status": "Success"}

    with_lab(scenario)


@pytest.mark.parametrize(
    ("protocol", "script", "code", "how"),
    [
        (V5, "exit 3", 3, "command terminated with exit code 3"),
        (V4, "exit 3", 3, "error executing command [sh -c exit 3], exit code 3"),
        (V5, "kill -9 $$", 137, "command terminated with exit code 137"),
    ],
)
def test_exit_codes(protocol, script, code, how):
    async def scenario(lab):
        async with execute(lab, "sh", "-c", script, protocols=(protocol,)) as ws:
            status = json.loads((await collect(ws))[3])
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": str(code)}]
        assert status["message"] == f"command terminated with non-zero exit code: {how}"

    with_lab(scenario)


def test_input_and_its_end():
    async def scenario(lab):
        async with execute(lab, "sh", "-c", "cat; echo EOF seen", stdin=True) as ws:
            await ws.send_bytes(b"\0hello\n")
            await ws.send_bytes(b"\xff\0")
            found = await collect(ws)
        assert found[1] == b"hello\nEOF seen\n"

    with_lab(scenario)


def test_the_newest_protocol_wins_and_none_means_no_status():
    async def scenario(lab):
        async with execute(lab, "true", protocols=(V4, V5)) as ws:
            assert ws.protocol == V5
            assert (await collect(ws))[3]

    with_lab(scenario)


def test_a_command_that_is_not_there():
    async def scenario(lab):
        async with execute(lab, "/no/such/command") as ws:
            status = json.loads((await collect(ws))[3])
        assert (status["status"], status["reason"]) == ("Failure", "InternalError")
        assert "no such file or directory" in status["message"]

    with_lab(scenario)


def test_the_terminal_can_be_resized():
    async def scenario(lab):
        async with execute(lab, "sleep", "0.5", tty=True) as ws:
            await ws.receive()
            await until(lambda: lab.runtime.processes)
            await ws.send_bytes(b"\4not JSON")
            await ws.send_bytes(b'\4{"Width":100,"Height":40}')
            await collect(ws)
            assert lab.runtime.processes[0].size == (100, 40)

    with_lab(scenario)


def test_exec_where_nothing_runs():
    async def scenario(lab):
        run_pod(lab.store, "waiting", waiting={"reason": "ErrImagePull"})
        handshake = {"Connection": "Upgrade", "Upgrade": "websocket"}
        path = "/api/v1/namespaces/demo/pods/waiting/exec?command=true&stdout=true"
        assert await lab.ask("GET", path, headers=handshake, raw=True) == (
            500,
            b'container not found ("main")',
        )
        status, answer = await lab.ask("GET", f"{POD}/exec?container=x", headers=handshake)
        assert (status, answer["message"]) == (400, "container x is not valid for pod p")
        assert (await lab.ask("GET", f"{POD}/exec?command=true"))[0] == 400

    with_lab(scenario)


def write_log(lab, *lines, previous=False):
    log = Log()
    for number, line in enumerate(lines):
        log.add(number * SECOND + 123, line)
    lab.runtime.logs["p", previous] = log
    return log


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", b"one\ntwo\nthree"),
        ("?tailLines=2", b"two\nthree"),
        ("?tailLines=0", b""),
        ("?limitBytes=6", b"one\ntw"),
        ("?timestamps=true&tailLines=1", b"1970-01-01T00:00:02.000000123Z three"),
        ("?sinceSeconds=10", b""),
        ("?sinceTime=1970-01-01T00:00:01Z", b"two\nthree"),
        ("?container=main", b"one\ntwo\nthree"),
    ],
)
def test_which_lines_of_a_log(query, text):
    async def scenario(lab):
        write_log(lab, b"one\n", b"two\n", b"three")
        assert await lab.ask("GET", f"{POD}/log{query}", raw=True) == (200, text)
        assert lab.headers["Content-Type"] == "text/plain"

    with_lab(scenario)


def test_a_log_is_followed_to_its_end():
    async def scenario(lab):
        log = write_log(lab, b"one\n")

        async def write():
            await until(lambda: log.followers)
            log.add(SECOND, b"two\n")
            log.end()

        writing = asyncio.ensure_future(write())
        assert await lab.ask("GET", f"{POD}/log?follow=true", raw=True) == (200, b"one\ntwo\n")
        await writing

    with_lab(scenario)


@pytest.mark.parametrize(
    ("state", "query", "message"),
    [
        ({"waiting": {"reason": "ContainerCreating"}}, "",
         'container "main" in pod "w" is waiting to start: ContainerCreating'),
        ({"waiting": {"reason": "ErrImagePull"}}, "",
         'container "main" in pod "w" is waiting to start: image can\'t be pulled'),
        ({"running": {}}, "?previous=true",
         'previous terminated container "main" in pod "w" not found'),
        ({"running": {}}, "?container=x", "container x is not valid for pod w"),
    ],
)  # fmt: skip
def test_logs_that_are_not_there(state, query, message):
    async def scenario(lab):
        run_pod(lab.store, "w", **state)
        status, answer = await lab.ask("GET", f"/api/v1/namespaces/demo/pods/w/log{query}")
        assert (status, answer["reason"], answer["message"]) == (400, "BadRequest", message)

    with_lab(scenario)


def test_a_pod_of_two_containers_wants_a_name():
    async def scenario(lab):
        pod = build_pod("two")
        pod["spec"]["containers"].append({"name": "second", "image": "lab/any:1"})
        lab.store.create("pods", "demo", pod)
        _status, answer = await lab.ask("GET", "/api/v1/namespaces/demo/pods/two/log")
        assert answer["message"] == (
            "a container name must be specified for pod two, choose one of: [main second]"
        )

    with_lab(scenario)


def test_a_pod_without_a_node_has_an_empty_log():
    async def scenario(lab):
        lab.store.create("pods", "demo", build_pod("n"))
        path = "/api/v1/namespaces/demo/pods/n/log"
        assert await lab.ask("GET", path, raw=True) == (200, b"")

    with_lab(scenario)
