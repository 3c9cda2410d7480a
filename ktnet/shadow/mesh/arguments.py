"""The command line of a router, which its Deployment gives."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from ktnet.shadow.arguments import parse_address, parse_origin, parse_port, parse_seconds
from ktnet.shadow.router.listener import Expected, parse_app_protocol
from ktnet.wire.shadow import HEALTH_PORT, SSH_PORT


@dataclass(frozen=True)
class RoutedPort:
    """A port of the Service's pods, and where its requests go that nobody else wants."""

    number: int
    origin: tuple[str, int]
    expected: Expected


@dataclass(frozen=True)
class RouterArguments:
    """What the manifest decides."""

    namespace: str
    service: str
    router: str
    """Name of the Deployment."""
    ports: tuple[RoutedPort, ...]
    bind: str
    """Where the ports are."""
    idle_s: float
    restores: bool
    """Whether it has a Role to put the Service back by."""
    ssh_bind: str = "127.0.0.1"
    ssh_port: int = SSH_PORT
    health_port: int = HEALTH_PORT


def parse_router_arguments(argv: Sequence[str]) -> RouterArguments:
    """Parse; a mistake prints usage and raises SystemExit(2), as argparse does."""
    parser = argparse.ArgumentParser(
        prog="ktnet.shadow router", description="Stands in front of a Service, for ktnet mesh."
    )
    parser.add_argument("--namespace", required=True, help="of the Service and of this pod")
    parser.add_argument("--service", required=True, help="the Service that leads here")
    parser.add_argument("--router", required=True, help="the Deployment of this pod")
    parser.add_argument(
        "--route",
        required=True,
        action="append",
        type=_parse_route,
        metavar="PORT=HOST:PORT[=APP_PROTOCOL]",
        help="a port, and where its requests go that no laptop wants",
    )
    parser.add_argument("--bind", required=True, type=parse_address, metavar="ADDRESS")
    parser.add_argument(
        "--idle",
        default=60.0,
        type=parse_seconds,
        metavar="SECONDS",
        help="put the Service back when nobody has been attached for so long",
    )
    parser.add_argument("--restore", action="store_true", help="there is a Role to do that by")
    parser.add_argument("--ssh-bind", default="127.0.0.1", type=parse_address, metavar="ADDRESS")
    parser.add_argument("--ssh-port", default=SSH_PORT, type=parse_port, metavar="PORT")
    parser.add_argument("--health-port", default=HEALTH_PORT, type=parse_port, metavar="PORT")
    found = parser.parse_args(argv)
    return RouterArguments(
        found.namespace,
        found.service,
        found.router,
        tuple(found.route),
        found.bind,
        found.idle,
        found.restore,
        found.ssh_bind,
        found.ssh_port,
        found.health_port,
    )


def _parse_route(text: str) -> RoutedPort:
    number, _, rest = text.partition("=")
    origin, _, protocol = rest.partition("=")
    return RoutedPort(parse_port(number), parse_origin(origin), parse_app_protocol(protocol))
