"""What the page may have done: the same as `ktnet recover NAME` and `ktnet clean`, no more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from ktnet.errors import UsageError

Json = dict[str, Any]


class Mender(Protocol):
    """Who does it (`ktnet.dashboard.source.Source`)."""

    async def recover(self, namespace: str, name: str) -> list[str]:
        """Put back; what is to be told. Raises a KtnetError."""

    async def clean(self, namespace: str, *, all_users: bool) -> list[str]:
        """Remove what dead sessions left; what is to be told. Raises a KtnetError."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, read."""

    namespace: str
    name: str = ""
    all_users: bool = False


def parse_wanted(body: bytes, *, has_name: bool) -> Wanted:
    """{"namespace", "name"} for recover, {"namespace", "all_users"} for clean. Pure.

    Raises UsageError for anything else.
    """
    try:
        obj = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is no JSON") from error
    keys = {"namespace", "name"} if has_name else {"namespace", "all_users"}
    if not isinstance(obj, dict) or obj.keys() != keys:
        raise UsageError(f"the request is no object of {' and '.join(sorted(keys))}")
    namespace, name, all_users = obj["namespace"], obj.get("name", "x"), obj.get("all_users", False)
    words = (namespace, name)
    if not all(isinstance(word, str) and word for word in words) or type(all_users) is not bool:
        raise UsageError("something in the request is of the wrong kind")
    return Wanted(namespace, obj.get("name", ""), all_users)
