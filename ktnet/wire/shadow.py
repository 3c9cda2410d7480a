"""What client and shadow agree on beside SSH itself: names, ports and the host key line.

The shadow's log is read through the API server (`pods/log`), so a line of it is trusted just as
much as the pod's own spec. The log must therefore never hold unescaped bytes from a peer.
"""

from __future__ import annotations

import re

from ktnet.errors import RemoteProtocolError

PROTOCOL_VERSION = 1
"""Raised whenever client and shadow of different releases would misunderstand each other."""

SSH_PORT = 7022
"""Of the shadow's SSH server; far from the ports that users expose from the same pod."""

HEALTH_PORT = 7023
"""At the pod's address, of shadows that expose ports: takes connections while their callers get
somewhere. So readiness is asked of the shadow, and the user's process is never knocked at."""

ACCOUNT = "/var/run/secrets/ktnet.dev/account"
"""Directory of a pod's own account, where it was given one: `ca.crt` and `token`."""

SSH_USER = "ktnet"

DNS_SUBSYSTEM = "ktnet-dns"
"""SSH subsystem that carries DNS messages, each behind its length in two bytes (RFC 1035 4.2.2)."""

PROBE_HOST = "probe.ktnet.invalid"
"""A direct-tcpip target that the shadow answers itself, by echoing: proves the whole path
(RFC 6761 reserves `.invalid`, so no Service can ever have the name)."""

SPEED_HOST = "speed.ktnet.invalid"
"""The same for measuring: at these ports it takes all that comes, or sends as fast as it goes."""
DISCARD_PORT, CHARGEN_PORT = 9, 19
"""Those of the services that did so (RFC 863, RFC 864)."""

_ARMING_LINE = re.compile(r"ktnet-restores v1 (?P<verdict>yes|no)(?: .*)?")

_HOST_KEY_LINE = re.compile(
    r"ktnet-hostkey v(?P<version>[0-9]{1,6}) (?P<key>ssh-ed25519 [A-Za-z0-9+/]{68}={0,2})"
)


def build_host_key_line(public_key: str) -> str:
    """The log line by which a shadow publishes its host key.

    `public_key` is "ssh-ed25519 BASE64", without a comment.
    """
    return f"ktnet-hostkey v{PROTOCOL_VERSION} {public_key}"


def parse_host_key_line(line: str) -> tuple[int, str] | None:
    """(protocol version, "ssh-ed25519 BASE64") of a host key line; None for any other line."""
    match = _HOST_KEY_LINE.fullmatch(line.rstrip("\r\n"))
    if match is None:
        return None
    return int(match["version"]), match["key"]


def build_arming_line(*, restores: bool) -> str:
    """The log line by which a shadow says whether it can put back by itself what was taken."""
    return f"ktnet-restores v1 {'yes' if restores else 'no'}"


def find_arming(log: str) -> bool | None:
    """What a shadow's log last says of that; None where it says nothing yet."""
    found = [match["verdict"] for line in log.splitlines() if (match := _match_arming(line))]
    return found[-1] == "yes" if found else None


def _match_arming(line: str) -> re.Match[str] | None:
    return _ARMING_LINE.fullmatch(line.rstrip("\r\n"))


def find_host_key(log: str) -> str | None:
    """The newest host key in a shadow's log, "ssh-ed25519 BASE64"; None where there is none yet.

    Raises RemoteProtocolError where the shadow speaks another version of the protocol.
    """
    found = [parsed for line in log.splitlines() if (parsed := parse_host_key_line(line))]
    if not found:
        return None
    version, key = found[-1]
    if version != PROTOCOL_VERSION:
        raise RemoteProtocolError(
            f"the shadow speaks protocol version {version}, this client {PROTOCOL_VERSION}",
            hint="use the shadow image of this ktnet's own version",
        )
    return key
