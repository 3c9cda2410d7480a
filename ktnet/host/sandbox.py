"""A network of its own for one command, made by anybody: no right of this machine is used.

    this process: session, gateway ◄── TUN, DNS sockets ── child: namespaces, link, default route
                                   ── resolver's file ──► child: mounts it, becomes the command

The namespaces end with the last process in them, and nothing outside of them was changed.
user_namespaces(7), network_namespaces(7).
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import NoReturn

from ktnet.errors import DnsError, HostNetworkError, HostPermissionError, KtnetError
from ktnet.host.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    bind,
    end_with_parent,
    keep_identity,
    make_mounts_private,
    unshare,
)
from ktnet.host.netlink import open_netlink
from ktnet.host.plan import LinkPlan
from ktnet.host.resolver import RESOLV_CONF
from ktnet.host.tun import open_dns_sockets, open_tun

LINK = LinkPlan("ktnet0", IPv4Address("198.19.0.1"), IPv4Address("198.19.0.2"))
"""Nobody else is in that network: its addresses are free (see `ktnet.host.checker.TUN_RANGE`)."""

_EVERYTHING = IPv4Network("0.0.0.0/0")

_NAME_SERVICES = (
    Path("/run/systemd/resolve/io.systemd.Resolve"),
    Path("/run/nscd/socket"),
    Path("/var/run/nscd/socket"),
)
"""Sockets by which the C library asks for names past the resolver's file."""

_SYSCTLS = (
    ("kernel.unprivileged_userns_clone", "0"),
    ("user.max_user_namespaces", "0"),
    ("user.max_net_namespaces", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
)
"""Each with the value by which it forbids what is needed here."""

_MAX_MESSAGE = 64 * 1024


@dataclass(frozen=True)
class Sandbox:
    """A child that waits, in its namespaces, to become the command."""

    pid: int
    tun_fd: int
    dns_udp: socket.socket
    dns_tcp: socket.socket
    _channel: socket.socket

    def start(self, resolv_conf: str) -> None:
        """Let the command run, with this as its resolver's file."""
        with self._channel, suppress(OSError):  # it was killed while it waited: its end says so
            self._channel.send(resolv_conf.encode())

    def give_up(self) -> None:
        """The command shall not run after all."""
        self._channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def spawn_sandbox(command: tuple[str, ...]) -> Sandbox:
    """Make the namespaces. For a process with one thread.

    Raises HostPermissionError where that isn't allowed, HostNetworkError, DnsError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _run_child(theirs, parent, command)
    theirs.close()
    message, descriptors, _, _ = socket.recv_fds(ours, _MAX_MESSAGE, 3)
    if len(descriptors) == 3:
        tun, udp, tcp = descriptors
        return Sandbox(pid, tun, socket.socket(fileno=udp), socket.socket(fileno=tcp), ours)
    ours.close()
    os.waitpid(pid, 0)
    raise _parse_failure(message)


def try_sandbox() -> None:
    """Make the namespaces and give them up again; raises as `spawn_sandbox`."""
    sandbox = spawn_sandbox(("true",))
    sandbox.give_up()
    os.close(sandbox.tun_fd)
    sandbox.dns_udp.close()
    sandbox.dns_tcp.close()
    os.waitpid(sandbox.pid, 0)


def _run_child(channel: socket.socket, parent: int, command: tuple[str, ...]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _make_network(channel)
        resolv_conf = channel.recv(_MAX_MESSAGE)
        if not resolv_conf:
            os._exit(1)
        _take_resolver(resolv_conf)
        end_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
    except KtnetError as error:
        _report(channel, error)
    except OSError as error:
        _report(channel, HostNetworkError(f"the sandbox can't be made: {error.strerror}"))
    _execute(command)


def _make_network(channel: socket.socket) -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        keep_identity(uid, gid)
        make_mounts_private()
    except OSError as error:
        raise build_refusal(error) from error
    tun = open_tun(LINK.name)
    with open_netlink() as netlink:
        netlink.set_up_loopback()
        netlink.add_route(_EVERYTHING, netlink.set_up_link(LINK, "ktnet exec"))
    udp, tcp = open_dns_sockets(LINK.name, LINK.address)
    socket.send_fds(channel, [b"ready"], [tun, udp.fileno(), tcp.fileno()])
    # The TUN goes when the session does; a copy that the command holds would keep it.
    os.close(tun)
    udp.close()
    tcp.close()


def _take_resolver(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="ktnet-resolv-") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        try:
            bind(Path(file.name), RESOLV_CONF)
        except OSError as error:
            raise DnsError(f"{RESOLV_CONF} can't be replaced: {error.strerror}") from error
    for path in _NAME_SERVICES:
        with suppress(FileNotFoundError):
            bind(Path(os.devnull), path)


def _execute(command: tuple[str, ...]) -> NoReturn:
    # Python ignores these; programs don't expect that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"ktnet: {command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        # As shells say it: POSIX, "Exit Status for Commands".
        os._exit(127 if error.errno == errno.ENOENT else 126)


def build_refusal(error: OSError) -> HostPermissionError:
    """What stands in the way of an ordinary user's namespaces, as far as it can be seen."""
    said = f"namespaces of one's own can't be made here: {error.strerror}"
    if (limit := find_limit()) is not None:
        setting, remedy = limit
        return HostPermissionError(
            f"{said} ({setting})",
            hint=f"{remedy}, or without any rights: ktnet connect --mode proxy",
        )
    return HostPermissionError(
        said,
        hint="a container's seccomp profile may forbid it (docker run --security-opt "
        "seccomp=unconfined); without any rights: ktnet connect --mode proxy",
    )


def find_limit() -> tuple[str, str] | None:
    """The setting of this machine that forbids ordinary users such namespaces, "NAME is VALUE", and
    the command that allows them; None where there is none."""
    for name, value in _SYSCTLS:
        if _read_sysctl(name) == value:
            wanted = {"0": "1" if "clone" in name else "10000", "1": "0"}[value]
            return f"{name} is {value}", f"sudo sysctl {name}={wanted}"
    return None


def _read_sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _report(channel: socket.socket, error: KtnetError) -> NoReturn:
    kind = next(i for i, each in enumerate(_KINDS) if isinstance(error, each))
    with suppress(OSError):
        channel.send(json.dumps([kind, error.message, error.hint]).encode())
    os._exit(_KINDS[kind].exit_code)


_KINDS: tuple[type[KtnetError], ...] = (
    HostPermissionError,
    DnsError,
    HostNetworkError,
    KtnetError,
)


def _parse_failure(message: bytes) -> KtnetError:
    if not message:
        return HostNetworkError("what was to become the command ended before it was ready")
    kind, words, hint = json.loads(message)
    error = _KINDS[kind](words, hint=hint)
    assert isinstance(error, KtnetError)  # noqa: S101  (narrows the type)
    return error
