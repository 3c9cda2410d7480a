"""What a machine can refuse: each a clear error of its kind, and nothing left behind."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from host_sandbox import (
    ETC,
    RESOLV_CONF,
    differences,
    host_state,
    run,
    run_in_sandbox,
)
from test_host_undo import capture, holding

from ktnet.errors import (
    Conflict,
    DnsError,
    HostNetworkError,
    HostPermissionError,
    KtnetError,
    RemoteProtocolError,
)
from ktnet.host.client import open_host
from ktnet.host.facts import HostFacts
from ktnet.host.plan import LinkPlan
from ktnet.host.replies import Reply, parse_reply
from ktnet.host.requests import FactsRequest, OpenRequest, ReleaseRequest, build_request
from ktnet.host.steps import LinkStep, Record, build_record

pytestmark = pytest.mark.lab


def attempt(*, read_state: bool = True) -> KtnetError:
    """The error that a session ends with; the machine has to be as before."""
    before = host_state() if read_state else {}

    async def session() -> None:
        async with open_host() as host:
            await capture(host)

    with pytest.raises(KtnetError) as caught:
        asyncio.run(session())
    assert not read_state or differences(before, host_state()) == []
    return caught.value


def test_no_tun_device() -> None:
    run_in_sandbox(no_tun_device)


def no_tun_device() -> None:
    run("mount", "-t", "tmpfs", "tmpfs", "/dev/net")
    error = attempt()
    assert type(error) is HostPermissionError
    assert error.message == "/dev/net/tun can't be opened: No such file or directory"
    assert "--device /dev/net/tun" in error.hint


@pytest.mark.parametrize(("options", "says"), [("", "NET_ADMIN"), ("nobody", "root's rights")])
def test_no_rights(options: str, says: str) -> None:
    run_in_sandbox(no_rights, options, says)


def no_rights(options: str, says: str) -> None:
    limits = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    if options == "nobody":
        limits = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    for path in (*Path(sys.executable).parents, Path(__file__).parent):
        assert path.stat().st_mode & 0o005 == 0o005, f"uid 65534 can't get to {path}"
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        "from test_host_errors import attempt; error = attempt(); "
        "print(type(error).__name__, error.message)"
    )
    said = run("setpriv", *limits, sys.executable, "-c", program)
    assert said.startswith("HostPermissionError ")
    assert says in said


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_port_53_is_taken(kind: str) -> None:
    run_in_sandbox(port_53_is_taken, kind)


def port_53_is_taken(kind: str) -> None:
    number = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, number) as other:
        other.bind(("0.0.0.0", 53))
        if kind == "tcp":
            other.listen()
        error = attempt()
    assert type(error) is DnsError
    assert "port 53 of 198.19.0.1 can't be bound" in error.message
    assert "listens on all addresses" in error.hint


def test_a_second_session() -> None:
    run_in_sandbox(second_session)


def second_session() -> None:
    with holding():
        error = attempt()
        assert type(error) is Conflict
        assert "another ktnet session" in error.message


def test_a_second_session_of_another_network_but_the_same_resolver() -> None:
    run_in_sandbox(second_resolver)


def second_resolver() -> None:
    with holding():
        before = RESOLV_CONF.read_bytes()
        program = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
            "from test_host_errors import attempt; error = attempt(); "
            "print(type(error).__name__, error.message)"
        )
        said = run("unshare", "--net", sys.executable, "-c", program)
        assert said.startswith("Conflict /etc/resolv.conf is in the hands of another"), said
        assert RESOLV_CONF.read_bytes() == before


def test_a_read_only_resolver() -> None:
    run_in_sandbox(read_only_resolver)


def read_only_resolver() -> None:
    run("mount", "-o", "remount,ro", str(ETC))
    error = attempt()
    assert type(error) is DnsError
    assert error.message == "/etc/resolv.conf can't be changed: Read-only file system"


@pytest.mark.parametrize("where", ["/etc", "/run"])
def test_a_full_disk(where: str) -> None:
    run_in_sandbox(full_disk, where)


def full_disk(where: str) -> None:
    run("mount", "-o", "remount,size=256k", where)
    if where == "/run":
        (Path(where) / "ktnet" / "journal").mkdir(parents=True, mode=0o700)
    with contextlib.suppress(OSError), (Path(where) / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"\0" * 4096):
            pass
    error = attempt()
    assert "No space left on device" in error.message
    assert type(error) is (DnsError if where == "/etc" else HostNetworkError)


def test_a_full_disk_under_a_bind_mount() -> None:
    run_in_sandbox(full_disk_in_place)


def full_disk_in_place() -> None:
    """The file is larger than a page, and there is not even one more: the old content stays."""
    small = Path("/run/small")
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small))
    (small / "resolv.conf").write_text("nameserver 192.168.64.53\noptions rotate\n" * 90)
    run("mount", "--bind", str(small / "resolv.conf"), str(RESOLV_CONF))
    with contextlib.suppress(OSError):
        (small / "filler").write_bytes(b"\0" * 8192)
    (small / "resolv.conf").write_text("nameserver 192.168.64.53\n" + "options rotate\n" * 270)
    error = attempt()
    assert type(error) is DnsError
    assert "No space left on device" in error.message


@contextlib.contextmanager
def helper() -> Iterator[socket.socket]:
    """A helper, and the bare socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-I", "-m", "ktnet.host.helper"]
    with ours, subprocess.Popen(command, stdin=theirs) as process:
        theirs.close()
        ours.settimeout(20)
        try:
            yield ours
        finally:
            ours.close()
        assert process.wait(10) == 0


def answer(ours: socket.socket, request: bytes) -> tuple[int, Reply]:
    ours.send(request)
    return parse_reply(ours.recv(200_000))


def test_a_client_that_sends_garbage() -> None:
    run_in_sandbox(garbage)


def garbage() -> None:
    before = host_state()
    with helper() as ours:
        for data in (b"\0", b"{}", b"[" * 65_000, os.urandom(60_000), b'{"id": 1, "do": "halt"}'):
            _, error = answer(ours, data)
            assert type(error) is RemoteProtocolError
        number, facts = answer(ours, build_request(7, FactsRequest()))
        assert number == 7
        assert isinstance(facts, HostFacts)
        assert facts.resolver.nameservers == ("192.168.64.53",)
        assert [a.link for a in facts.addresses] == ["lo", "lan"]
    assert differences(before, host_state()) == []


def test_requests_out_of_order() -> None:
    run_in_sandbox(out_of_order)


def out_of_order() -> None:
    before = host_state()
    stolen = (
        b'{"id":1,"do":"capture","routes":[],"unreachable":[],'
        b'"resolver":{"nameserver":"10.6.6.6","search":[]}}'
    )
    with helper() as ours:
        _, error = answer(
            ours, b'{"id":1,"do":"capture","routes":[],"resolver":null,"unreachable":[]}'
        )
        assert "there is no TUN device" in str(error)
        plan = LinkPlan("ktnet0", IPv4Address("198.19.0.1"), IPv4Address("198.19.0.2"))
        open_request = build_request(2, OpenRequest(plan))
        ours.send(open_request)
        _, descriptors, _, _ = socket.recv_fds(ours, 1000, 8)
        assert len(descriptors) == 3
        _, error = answer(ours, open_request)
        assert "open already" in str(error)
        _, error = answer(ours, stolen)
        assert "not the TUN device's own address" in str(error)
        assert RESOLV_CONF.read_text().startswith("# of the office")
        for descriptor in descriptors:
            os.close(descriptor)
        answer(ours, build_request(3, ReleaseRequest()))
        assert differences(before, host_state()) == []


def test_a_helper_started_by_hand() -> None:
    for stdin in (subprocess.DEVNULL, subprocess.PIPE):
        done = subprocess.run(
            [sys.executable, "-I", "-m", "ktnet.host.helper"],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr == "ktnet: the helper was started without its socket\n"


def test_a_helper_with_a_socket_that_others_can_reach() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0ktnet-test-{os.getpid()}")
        listener.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(listener.getsockname())
            done = subprocess.run(
                [sys.executable, "-I", "-m", "ktnet.host.helper"],
                stdin=client,
                capture_output=True,
                text=True,
                check=False,
            )
    assert done.returncode == 1
    assert "not a pair's" in done.stderr


def test_journals_that_are_not_for_us_to_undo() -> None:
    run_in_sandbox(foreign_journals)


def foreign_journals() -> None:
    journals = Path("/run/ktnet/journal")
    journals.mkdir(parents=True, mode=0o700)
    record = Record("net:[1]", "mnt:[1]", (LinkStep("ktnet0", "ktnet:1-2"),))
    (journals / "1-2.json").write_bytes(build_record(record))
    (journals / "3-4.json").write_bytes(b"garbage")
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            (note,) = (await host.facts()).mended
            assert note.startswith("the journal /run/ktnet/journal/3-4.json can't be read")
            await capture(host)

    asyncio.run(session())
    assert differences(before, host_state()) == []
