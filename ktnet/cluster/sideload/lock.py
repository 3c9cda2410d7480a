"""The pinned wheels of the shadow: pure.

The format is pip's: https://pip.pypa.io/en/stable/topics/secure-installs/#hash-checking-mode
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from ktnet.errors import ShadowFailed

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.+!]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One distribution, and the SHA-256 of each file of it that may be used."""

    name: str
    version: str
    hashes: frozenset[str]


def parse_lock(text: str) -> list[Pin]:
    """The pins of a requirements file; raises ValueError where a line is no pin with hashes."""
    pins = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        requirement = line.partition(" #")[0].strip()
        if not requirement or requirement.startswith("#"):
            continue
        match = _PIN.match(requirement)
        hashes = frozenset(_HASH.findall(requirement))
        if match is None or not hashes:
            raise ValueError(f"{requirement[:60]!r} is no pin with a hash")
        pins.append(Pin(match["name"], match["version"], hashes))
    return pins


def check_wheels(pins: list[Pin], wheels: Mapping[str, bytes]) -> None:
    """Raise ShadowFailed unless there is one wheel for each pin, as it was when it was pinned.

    `wheels` has contents by file names ("NAME-VERSION-TAGS.whl",
    https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
    """
    wanted = {(_normalize(pin.name), pin.version): pin for pin in pins}
    for file, content in wheels.items():
        name, version, *_ = (*file.split("-"), "", "")
        pin = wanted.pop((_normalize(name), version), None)
        if pin is None:
            raise ShadowFailed(f"the wheel {file} is none that the shadow needs, or there twice")
        if sha256(content).hexdigest() not in pin.hashes:
            raise ShadowFailed(
                f"the wheel {file} is not the one that this ktnet was tested with",
                hint="its SHA-256 is not among those of the lock; fetch it anew",
            )
    if wanted:
        missing = ", ".join(f"{name} {version}" for name, version in sorted(wanted))
        raise ShadowFailed(f"there is no wheel of {missing}")


def _normalize(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()
