"""The lines and constants that client and shadow agree on."""

import pytest

from ktnet.errors import RemoteProtocolError
from ktnet.wire.flow import OpenFailure
from ktnet.wire.shadow import (
    PROTOCOL_VERSION,
    build_host_key_line,
    find_host_key,
    parse_host_key_line,
)

KEY = "ssh-ed25519 " + "A" * 68
OTHER_KEY = "ssh-ed25519 " + "B" * 68


def test_host_key_line_survives_the_log() -> None:
    assert parse_host_key_line(build_host_key_line(KEY) + "\n") == (PROTOCOL_VERSION, KEY)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "listening on 127.0.0.1",
        "ktnet-hostkey v1 ssh-rsa " + "A" * 68,
        "ktnet-hostkey v1 " + KEY + "A",
        "ktnet-hostkey v1 " + KEY[:-1],
        "ktnet-hostkey v " + KEY,
        "peer said: ktnet-hostkey v1 " + KEY,
        "ktnet-hostkey v1 " + KEY + " trailing",
    ],
)
def test_other_lines_are_no_host_key(line: str) -> None:
    assert parse_host_key_line(line) is None


def test_newest_key_of_a_log_counts() -> None:
    log = f"{build_host_key_line(KEY)}\nsomething\n{build_host_key_line(OTHER_KEY)}\nmore\n"
    assert find_host_key(log) == OTHER_KEY


def test_log_without_a_key_has_none_yet() -> None:
    assert find_host_key("starting\n") is None


def test_another_protocol_version_is_said() -> None:
    log = build_host_key_line(KEY).replace(f"v{PROTOCOL_VERSION}", f"v{PROTOCOL_VERSION + 1}")
    with pytest.raises(RemoteProtocolError, match=f"version {PROTOCOL_VERSION + 1}"):
        find_host_key(log)


def test_open_failures_use_the_private_range_of_rfc_4254() -> None:
    assert all(0xFE000000 <= failure.value <= 0xFFFFFFFF for failure in OpenFailure)
