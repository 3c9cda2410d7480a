"""The ways into a pod that the API server offers: ports, logs, exec."""

import asyncio
import contextlib
import time

import pytest
from node_scene import NAMESPACE, NodeScene, on_node

pytestmark = pytest.mark.lab

SLEEP = {"command": ["sleep", "600"]}


async def talk(connection, given: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with connection:
        await loop.sock_sendall(connection, given)
        return await loop.sock_recv(connection, 100)


@pytest.mark.alone
@on_node
async def test_connecting_to_a_port_in_the_pod(node: NodeScene) -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 80)); print('up', flush=True)\n"
        "while True: c, a = s.accept(); c.sendall(a[0].encode()); c.recv(9); c.close()"
    )
    await node.start("server", {"command": ["python", "-c", script]})
    async for _ in node.kubelet.log(NAMESPACE, "server", "main").follow():
        break
    connection = await node.kubelet.connect(NAMESPACE, "server", 80)
    assert connection.getblocking() is False
    assert await talk(connection, b"x") == b"127.0.0.1"
    began_s = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        await node.kubelet.connect(NAMESPACE, "server", 81)
    assert time.monotonic() - began_s < 0.05
    with pytest.raises(LookupError):
        await node.kubelet.connect(NAMESPACE, "another", 80)
    node.delete("server", 0)
    with contextlib.suppress(ConnectionError):
        # Until it has ended it may still answer, or be gone in the middle.
        while True:
            try:
                (await node.kubelet.connect(NAMESPACE, "server", 80)).close()
            except LookupError:
                break
            await asyncio.sleep(0)


@on_node
async def test_log_follows_and_keeps_the_order_of_both_streams(node: NodeScene) -> None:
    script = (
        "import os, sys, time\n"
        "for n in range(3): os.write(1, b'out %d\\n' % n); os.write(2, b'err %d\\n' % n)\n"
        "sys.stdin.read(); time.sleep(0.05); os.write(1, b'no newline')"
    )
    node.create("logger", {"command": ["python", "-c", script]}, restartPolicy="Never")
    with pytest.raises(LookupError):
        node.kubelet.log(NAMESPACE, "logger", "main")
    await node.wait_until("logger", lambda pod: pod["status"]["phase"] == "Running")
    log = node.kubelet.log(NAMESPACE, "logger", "main")
    lines = [line async for _, line in joined(log)]
    assert lines == [
        b"out 0\n",
        b"err 0\n",
        b"out 1\n",
        b"err 1\n",
        b"out 2\n",
        b"err 2\n",
        b"no newline",
    ]
    times = [time_ns for time_ns, _ in log.lines]
    assert times == sorted(times)
    assert abs(times[-1] - time.time_ns()) < 10_000_000_000
    with pytest.raises(LookupError):
        node.kubelet.log(NAMESPACE, "logger", "main", previous=True)
    with pytest.raises(LookupError):
        node.kubelet.log(NAMESPACE, "logger", "other")


async def joined(log):
    """All lines of a log, from its first to the container's end."""
    following = log.follow()
    for line in log.lines:
        yield line
    async for line in following:
        yield line


@on_node
async def test_exec_with_pipes(node: NodeScene) -> None:
    await node.start("pod", {**SLEEP, "env": [{"name": "MINE", "value": "yes"}]})
    script = "cat; echo $MINE $HOSTNAME; id -u; echo oops >&2; exit 3"
    process = await node.kubelet.exec(
        NAMESPACE, "pod", "main", ["sh", "-c", script], stdin=True, tty=False
    )

    async def give() -> None:
        await process.write(b"given\n" * 100_000)
        await process.close_stdin()

    output = b""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(give())
        while data := await process.read_stdout():
            assert len(data) <= 32768
            output += data
    assert output == b"given\n" * 100_000 + b"yes pod\n0\n"
    assert await process.read_stderr() == b"oops\n"
    assert await process.read_stderr() == b""
    assert await process.wait() == 3


@on_node
async def test_exec_with_a_terminal(node: NodeScene) -> None:
    await node.start("pod", SLEEP)
    process = await node.kubelet.exec(
        NAMESPACE,
        "pod",
        "main",
        ["sh", "-c", "read line; stty size; kill -9 $$"],
        stdin=True,
        tty=True,
    )
    process.resize(100, 40)
    await process.write(b"go\n")
    output = b""
    while data := await process.read_stdout():
        output += data
    assert output == b"go\r\n40 100\r\n"
    assert await process.read_stderr() == b""
    assert await process.wait() == 137


@on_node
async def test_exec_failures(node: NodeScene) -> None:
    await node.start("pod", SLEEP)
    for command in (["/no/such/command"], ["no-such-command"]):
        with pytest.raises(FileNotFoundError):
            await node.kubelet.exec(NAMESPACE, "pod", "main", command, stdin=False, tty=False)
    with pytest.raises(PermissionError):
        await node.kubelet.exec(NAMESPACE, "pod", "main", ["/etc/passwd"], stdin=False, tty=False)
    with pytest.raises(LookupError):
        await node.kubelet.exec(NAMESPACE, "pod", "other", ["true"], stdin=False, tty=False)
    node.create("waiting", {"image": "nothing:1"})
    with pytest.raises(LookupError):
        await node.kubelet.exec(NAMESPACE, "waiting", "main", ["true"], stdin=False, tty=False)


@on_node
async def test_exec_is_killed_with_its_caller_and_with_its_pod(node: NodeScene) -> None:
    await node.start("pod", SLEEP)
    process = await node.kubelet.exec(
        NAMESPACE, "pod", "main", ["sh", "-c", "echo $$; sleep 600"], stdin=False, tty=False
    )
    number = int(await process.read_stdout())
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(process.read_stdout())
        await asyncio.sleep(0)
        reading.cancel()
    assert await process.wait() == 137
    processes = await node.execute("pod", "sh", "-c", "ls /proc | grep '^[0-9]'")
    assert str(number) not in processes.split()
    process = await node.kubelet.exec(
        NAMESPACE, "pod", "main", ["sleep", "600"], stdin=False, tty=False
    )
    node.delete("pod", 0)
    assert await process.wait() == 137


@on_node
async def test_exec_that_is_cancelled_while_it_starts_does_not_run_on(node: NodeScene) -> None:
    async def run() -> None:
        command = ["sleep", "500"]
        process = await node.kubelet.exec(NAMESPACE, "pod", "main", command, stdin=False, tty=False)
        await process.wait()  # on a busy machine it may have started before it is cancelled

    await node.start("pod", SLEEP)
    for turns in range(8):
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(run())
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
    count = (
        "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done | grep -cx 'sleep 500 '"
    )
    async with asyncio.timeout(10):
        while await node.execute("pod", "sh", "-c", f"{count} || true") != "0\n":
            pass


@on_node
async def test_a_service_account_token_is_its_users_alone(node: NodeScene) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    script = (
        "import os; s = os.stat('/t/token'); "
        "print(s.st_uid, oct(s.st_mode & 0o777), open('/t/token').read().count('.'))"
    )
    said = await node.run(
        script,
        volumes=[{"name": "t", "projected": {"sources": [source]}}],
        container={"volumeMounts": [{"name": "t", "mountPath": "/t"}]},
        securityContext={"runAsUser": 65534},
    )
    assert said == "65534 0o600 2\n"
