"""Kinds of values that options take."""

from __future__ import annotations

from ipaddress import IPv4Network

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


CIDR = Cidr()
DOMAIN = Domain()
