"""What an OPT record says (RFC 6891), and which of it is between neighbours only. Pure."""

from __future__ import annotations

import struct

from ktnet.errors import RemoteProtocolError

_FIXED = struct.Struct("!BHHIH")
"""Root name, type, size, extended fields and length of the options."""

_OPTION = struct.Struct("!HH")

_NEIGHBOURLY = {10, 12}
"""COOKIE (RFC 7873) and PADDING (RFC 7830): they concern one hop, and no answer depends on them."""

DO = 0x8000
"""The asker takes DNSSEC records (RFC 3225), in the extended fields."""


def parse_extended(opt: bytes) -> int:
    """The extended fields of an OPT record: response code, version, flags; 0 without a record."""
    return int(_FIXED.unpack_from(opt)[3]) if opt else 0


def build_shared_opt(opt: bytes) -> bytes | None:
    """The OPT record without options that concern one hop only; b"" for none.

    None where an option is left: then an answer may be meant for this asker alone (a client's
    subnet, RFC 7871), or its options are malformed.
    """
    if not opt:
        return b""
    try:
        codes = set(parse_option_codes(opt))
    except RemoteProtocolError:
        return None
    return opt[: _FIXED.size - 2] + b"\0\0" if codes <= _NEIGHBOURLY else None


def parse_option_codes(opt: bytes) -> list[int]:
    """The options in an OPT record. Raises RemoteProtocolError where they are cut off."""
    codes = []
    position = _FIXED.size
    while position < len(opt):
        if position + _OPTION.size > len(opt):
            raise RemoteProtocolError("an EDNS option is cut off")
        code, length = _OPTION.unpack_from(opt, position)
        position += _OPTION.size + length
        if position > len(opt):
            raise RemoteProtocolError("an EDNS option is cut off")
        codes.append(code)
    return codes


def build_opt(size: int, extended: int = 0) -> bytes:
    """An OPT record without options, for answers of at most `size` octets over UDP."""
    return _FIXED.pack(0, 41, size, extended, 0)
