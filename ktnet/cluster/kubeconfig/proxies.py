"""Through which proxy an API server is reached: pure.

As Go's net/http does it for kubectl (golang.org/x/net/http/httpproxy), which is neither how curl
nor how Python does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from ktnet.errors import UsageError

SOCKS = ("socks5", "socks5h")
"""Names are resolved by the proxy with both, as kubectl has it."""
_SCHEMES = ("http", "https", *SOCKS)
_PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address


def choose_proxy(server: str, configured: str, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for `server`; None for none.

    `configured` is the cluster's own `proxy-url`, which NO_PROXY has no say in; else the
    environment decides. Raises UsageError for what is no proxy.
    """
    if configured:
        return _parse_proxy(configured, "proxy-url")
    url = urlsplit(server)
    variable = f"{url.scheme.upper()}_PROXY"
    found = _look_up(environ, variable)
    host = (url.hostname or "").rstrip(".")
    port = url.port or _PORTS[url.scheme]
    if not found or _is_exempt(host, port, _look_up(environ, "NO_PROXY")):
        return None
    return _parse_proxy(found if "://" in found else f"http://{found}", f"${variable}")


def _look_up(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _parse_proxy(text: str, source: str) -> str:
    try:
        url = urlsplit(text)
        usable = url.scheme in _SCHEMES and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        # Not the URL itself: there may be a password in it.
        raise UsageError(
            f"{source} names no proxy that can be used",
            hint="it looks like http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT",
        )
    return text


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether `host` goes without a proxy; this machine itself always does."""
    address = _parse_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(
        _is_exempt_by(entry.strip().lower(), host.lower(), address, port)
        for entry in exempt.split(",")
    )


def _is_exempt_by(rule: str, host: str, address: Address | None, port: int) -> bool:
    if rule == "*":
        return True
    with suppress(ValueError):
        network = ip_network(rule, strict=False)
        return address is not None and address in network
    rule, rule_port = _split_port(rule)
    if rule_port is not None and rule_port != port:
        return False
    if address is not None:
        return _parse_address(rule) == address
    return bool(rule) and _matches(host, rule)


def _split_port(rule: str) -> tuple[str, int | None]:
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        name, _, port = rule.partition(":") if rule.count(":") == 1 else (rule, "", "")
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5
    return name, int(port) if is_port else None


def _parse_address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _matches(host: str, rule: str) -> bool:
    """`example.com` is it and all below; `.example.com` and `*.example.com` all below only."""
    rule = rule.removeprefix("*")
    if rule.startswith("."):
        return host.endswith(rule)
    return host == rule or host.endswith(f".{rule}")
