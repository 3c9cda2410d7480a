"""What a check says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ktnet.errors import KtnetError

Result = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `ktnet check`."""

    name: str
    """For programs too: it doesn't change between releases."""
    result: Result
    detail: str
    hint: str = ""
    """What to do about it."""
    exit_code: int = 0
    """The command's, because of this; 0 unless it fails."""

    def describe(self) -> dict[str, Any]:
        """For `-o json`."""
        fields = asdict(self)
        del fields["exit_code"]
        return fields


def ok(name: str, detail: str) -> Check:
    """As it should be."""
    return Check(name, "ok", detail)


def warn(name: str, detail: str, hint: str = "") -> Check:
    """Works, with less or with care."""
    return Check(name, "warn", detail, hint)


def skip(name: str, detail: str) -> Check:
    """Can't be told, or does not matter here."""
    return Check(name, "skip", detail)


def fail(name: str, error: KtnetError) -> Check:
    """The command would end with this."""
    return Check(name, "fail", error.message, error.hint, error.exit_code)
