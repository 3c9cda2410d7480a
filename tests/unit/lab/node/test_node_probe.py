"""Probes against real listeners on loopback."""

import asyncio
import contextlib
from ipaddress import IPv4Address

import pytest

from ktnet.lab.node import probe as probe_module
from ktnet.lab.node.probe import ask_once, find_port, run_probe

LOOPBACK = IPv4Address("127.0.0.1")
CONTAINER = {"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}


async def execute_nothing(command):
    raise AssertionError(command)


def ask_http(answer: bytes, **target):
    """(what the probe says, what it asked) of a server that answers with these bytes."""
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def scenario():
        server = await asyncio.start_server(serve, str(LOOPBACK), 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            probe = {"httpGet": {"path": "/ready", "port": port, **target}}
            return await ask_once(probe, CONTAINER, LOOPBACK, execute_nothing)

    return asyncio.run(scenario()), asked[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 500 Oops\r\n\r\n", False),
        (b"garbage\r\n", False),
        (b"HTTP/1.1 yes\r\n", False),
        (b"x" * 100_000, False),
        (b"", False),
    ],
)
def test_http(answer, expected):
    said, asked = ask_http(answer, httpHeaders=[{"name": "X-A", "value": "b"}])
    assert said is expected
    assert asked.startswith(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-A: b\r\n" in asked


def test_silent_server_is_not_ready():
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def scenario():
        server = await asyncio.start_server(serve, str(LOOPBACK), 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            probe = {"httpGet": {"port": port}, "timeoutSeconds": 0.05}
            return await ask_once(probe, CONTAINER, LOOPBACK, execute_nothing)

    assert asyncio.run(scenario()) is False


def test_commands():
    async def execute(command):
        return {"yes": 0, "no": 1}[command[0]]

    async def ask(word):
        return await ask_once({"exec": {"command": [word]}}, CONTAINER, LOOPBACK, execute)

    assert asyncio.run(ask("yes")) is True
    assert asyncio.run(ask("no")) is False


def test_ports_by_number_and_name():
    assert find_port({"port": 7}, CONTAINER) == 7
    assert find_port({"port": "web"}, CONTAINER) == 8080
    with pytest.raises(ValueError, match="none"):
        find_port({"port": "none"}, CONTAINER)


def test_thresholds(monkeypatch):
    monkeypatch.setattr(probe_module, "EXTRA_PROBE_S", 0)
    answers = iter([1, 0, 0, 1, 0, 1, 1, 0, 1, 0])
    reports = []

    async def execute(command):
        try:
            return next(answers)
        except StopIteration:
            raise asyncio.CancelledError from None

    probe = {
        "exec": {"command": ["x"]},
        "periodSeconds": 0,
        "successThreshold": 2,
        "failureThreshold": 2,
    }

    async def scenario():
        await run_probe({**CONTAINER, "readinessProbe": probe}, LOOPBACK, execute, reports.append)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())
    # no, yes yes -> ready, no, yes, no no -> not ready, yes, no, yes
    assert reports == [True, False]


def run_scripted(container, answers, seconds=1.0):
    """What `run_probes` tells of a container whose commands answer so, by the probe's name."""
    told = []
    scripts = {name: iter(each) for name, each in answers.items()}

    async def execute(command):
        (name,) = command
        return 0 if next(scripts[name], answers[name][-1]) else 1

    async def scenario():
        over = asyncio.Event()

        def fail(probe):
            told.append(f"failed {probe['exec']['command'][0]}")
            over.set()

        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(
                probe_module.run_probes(
                    container,
                    LOOPBACK,
                    execute,
                    started=lambda: told.append("started"),
                    report=lambda ready: told.append(f"ready {ready}"),
                    failed=fail,
                )
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), seconds)
            running.cancel()

    asyncio.run(scenario())
    return told


def by_command(name, **settings):
    return {"exec": {"command": [name]}, "periodSeconds": 0.01, **settings}


def test_a_container_that_does_not_live_is_given_up_after_failures_in_a_row():
    container = {"livenessProbe": by_command("live", failureThreshold=2)}
    assert run_scripted(container, {"live": [1, 0, 1, 0, 0]}) == ["failed live"]
    assert run_scripted(container, {"live": [1, 0, 1, 0, 1]}, 0.2) == []


def test_nobody_asks_before_it_has_started():
    container = {
        "startupProbe": by_command("up", failureThreshold=9),
        "readinessProbe": by_command("ready"),
        "livenessProbe": by_command("live", failureThreshold=1),
    }
    told = run_scripted(container, {"up": [0, 0, 1], "ready": [1], "live": [1, 1, 0]})
    assert told[0] == "started"
    assert "ready True" in told[1:]
    assert told[-1] == "failed live"


def test_a_container_that_does_not_start_is_given_up():
    container = {
        "startupProbe": by_command("up", failureThreshold=3),
        "readinessProbe": by_command("ready"),
    }
    assert run_scripted(container, {"up": [0], "ready": [1]}) == ["failed up"]
