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


CIDR = Cidr()
