"""The command line of the shadow, which the pod's manifest gives."""

from __future__ import annotations

import argparse
import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncssh

from ktnet.wire.record import Mode
from ktnet.wire.shadow import HEALTH_PORT, SSH_PORT


@dataclass(frozen=True)
class ExposedPort:
    """A port that a client may expose, and who serves it while none does."""

    number: int
    origin: tuple[str, int] | None = None
    always: bool = False
    """No client may have it: it is only passed on."""


@dataclass(frozen=True)
class Restorable:
    """What this shadow puts back, should its client not return."""

    plural: str
    namespace: str
    name: str
    mode: Mode
    session: str
    """Whose it has to be."""


@dataclass(frozen=True)
class Arguments:
    """What the manifest decides."""

    authorized_key: asyncssh.SSHKey
    bind: str
    port: int
    idle_s: float
    """math.inf: for ever."""
    exposed: tuple[ExposedPort, ...] = ()
    expose_bind: str = "127.0.0.1"
    health_port: int = HEALTH_PORT
    restorable: Restorable | None = None


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Parse; a mistake prints usage and raises SystemExit(2), as argparse does."""
    parser = argparse.ArgumentParser(
        prog="ktnet.shadow", description="The cluster's end of a ktnet tunnel."
    )
    parser.add_argument(
        "--authorized-key",
        required=True,
        type=_parse_key,
        metavar='"ssh-ed25519 BASE64"',
        help="the one public key that may attach",
    )
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        type=parse_address,
        metavar="ADDRESS",
        help="address to listen on (default: %(default)s, where port-forward connects to)",
    )
    parser.add_argument("--port", default=SSH_PORT, type=parse_port, metavar="PORT")
    parser.add_argument(
        "--idle",
        default=60.0,
        type=_parse_idle,
        metavar="SECONDS|never",
        help="end the session when nobody has been attached for so long (default: %(default)s)",
    )
    parser.add_argument(
        "--expose",
        default=[],
        action="append",
        type=_parse_exposed,
        metavar="PORT[=HOST:PORT]",
        help="a port that a client may expose, and where its callers go while none does",
    )
    parser.add_argument(
        "--pass",
        dest="passed",
        default=[],
        action="append",
        type=_parse_passed,
        metavar="PORT=HOST:PORT",
        help="a port whose callers always go there",
    )
    parser.add_argument(
        "--expose-bind",
        default="127.0.0.1",
        type=parse_address,
        metavar="ADDRESS",
        help="where those ports and the health port are (default: %(default)s)",
    )
    parser.add_argument(
        "--restore",
        type=_parse_object,
        metavar="KIND/NAMESPACE/NAME",
        help="put this back when nobody has been attached for the idle time",
    )
    parser.add_argument("--restore-mode", choices=("scale", "selector"), default="scale")
    parser.add_argument(
        "--session", default="", metavar="NAME", help="whose it has to be to be put back"
    )
    parser.add_argument("--health-port", default=HEALTH_PORT, type=parse_port, metavar="PORT")
    found = parser.parse_args(argv)
    return Arguments(
        found.authorized_key,
        found.bind,
        found.port,
        found.idle,
        (*found.expose, *found.passed),
        found.expose_bind,
        found.health_port,
        _build_restorable(found),
    )


def _build_restorable(found: argparse.Namespace) -> Restorable | None:
    if found.restore is None:
        return None
    plural, namespace, name = found.restore
    return Restorable(plural, namespace, name, found.restore_mode, found.session)


def _parse_object(text: str) -> tuple[str, str, str]:
    plural, _, rest = text.partition("/")
    namespace, _, name = rest.partition("/")
    if plural not in ("deployments", "statefulsets", "services") or not namespace or not name:
        raise argparse.ArgumentTypeError("one of deployments, statefulsets, services")
    return plural, namespace, name


def _parse_passed(text: str) -> ExposedPort:
    exposed = _parse_exposed(text)
    if exposed.origin is None:
        raise argparse.ArgumentTypeError("where to is missing")
    return replace(exposed, always=True)


def _parse_exposed(text: str) -> ExposedPort:
    number, has_origin, origin = text.partition("=")
    if not has_origin:
        return ExposedPort(parse_port(number))
    return ExposedPort(parse_port(number), parse_origin(origin))


def parse_origin(text: str) -> tuple[str, int]:
    """Where callers go that no laptop has, from HOST:PORT; argparse's error where it is none."""
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError("an origin is HOST:PORT")
    return host, parse_port(port)


def _parse_key(text: str) -> asyncssh.SSHKey:
    try:
        key = asyncssh.import_public_key(text)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"not an OpenSSH public key: {error}") from error
    if key.get_algorithm() != "ssh-ed25519":
        raise argparse.ArgumentTypeError("only ssh-ed25519 keys are taken")
    return key


def parse_address(text: str) -> str:
    """An address of this pod; argparse's error where it is none, or all of them."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if address.is_unspecified:
        # Every client reaches the shadow on one known address: no reason to listen wider.
        raise argparse.ArgumentTypeError("listening on all addresses is not offered")
    return str(address)


def parse_port(text: str) -> int:
    """A port's number; argparse's error where it is none."""
    if text.isascii() and text.isdigit() and int(text) <= 0xFFFF:
        return int(text)
    raise argparse.ArgumentTypeError("a port is a number from 0 (any free one) to 65535")


def _parse_idle(text: str) -> float:
    return math.inf if text == "never" else parse_seconds(text)


def parse_seconds(text: str) -> float:
    """A time; argparse's error where it is none."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not 0 < seconds < 10**8:
        raise argparse.ArgumentTypeError("a time in seconds above 0")
    return seconds
