"""Kinds of values that options take."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address

import click


class Cidr(click.ParamType[IPv4Network]):
    """An IPv4 network in CIDR notation; a plain address is a network of one."""

    name = "cidr"

    def convert(
        self, value: str | IPv4Network, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Network:
        if isinstance(value, IPv4Network):
            return value
        try:
            return IPv4Network(value)
        except ValueError as error:
            self.fail(f"{value!r} is no IPv4 network: {error}", param, ctx)


class Domain(click.ParamType[str]):
    """A domain name, such as `corp.example`."""

    name = "suffix"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ktnet.dns.names import parse_name
        from ktnet.errors import UsageError

        try:
            name = parse_name(value)
        except UsageError as error:
            self.fail(error.message, param, ctx)
        if not name:
            self.fail(f"{value!r} would be all names there are", param, ctx)
        return value


class Listen(click.ParamType[tuple[str, int]]):
    """[ADDR:]PORT; an IPv6 address stands in brackets."""

    name = "addr:port"

    def convert(
        self,
        value: str | tuple[str, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        try:
            address = str(ip_address(host.removeprefix("[").removesuffix("]") or "127.0.0.1"))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if not (port.isascii() and port.isdigit() and 0 < int(port) <= 0xFFFF):
            self.fail(f"{value!r}: a port is a number from 1 to 65535", param, ctx)
        return address, int(port)


CIDR = Cidr()
DOMAIN = Domain()
LISTEN = Listen()
