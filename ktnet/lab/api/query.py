"""What the query parameters of lists, watches and writes say. Pure.

kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ktnet.lab.api.errors import ApiError, Cause, bad_request, invalid, qualify
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.selectors import Predicate, parse_field_selector, parse_label_selector

META = "meta.k8s.io"
FIELD_VALIDATIONS = ("Ignore", "Strict", "Warn")


@dataclass(frozen=True)
class ListOptions:
    """Of a list or a watch."""

    selects: Predicate
    selective: bool
    """A selector was given: then nobody counts what remains after a page."""
    limit: int = 0
    start: tuple[int, str] | None = None
    """Of a continued list: its resourceVersion (-1: any) and the key after which it goes on."""
    version: str = ""
    exact: bool = False
    initial_events: bool = False
    bookmarks: bool = False
    timeout_s: int | None = None


def parse_bool(text: str) -> bool:
    """As Go's conversion of a query parameter: empty, false and 0 are false."""
    return text.lower() not in {"", "0", "false"}


def parse_list_options(plural: str, query: Mapping[str, str]) -> ListOptions:
    """Raises ApiError 400 or 422."""
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    by_label = parse_label_selector(labels)
    by_field = parse_field_selector(plural, fields)
    token = query.get("continue", "")
    return ListOptions(
        selects=lambda obj: by_label(obj) and by_field(obj),
        selective=bool(labels or fields),
        limit=_parse_int("limit", query.get("limit", "")) or 0,
        start=parse_continue(token) if token else None,
        version=query.get("resourceVersion", ""),
        exact=query.get("resourceVersionMatch") == "Exact",
        initial_events=parse_bool(query.get("sendInitialEvents", "")),
        bookmarks=parse_bool(query.get("allowWatchBookmarks", "")),
        timeout_s=_parse_int("timeoutSeconds", query.get("timeoutSeconds", "")),
    )


def check_list_options(query: Mapping[str, str], *, watch: bool) -> None:
    """Parameters that don't go together; raises ApiError 422."""
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    initial = parse_bool(query.get("sendInitialEvents", ""))
    check, field = FieldCheck(), "resourceVersionMatch"
    if watch and initial and match != "NotOlderThan":
        check.forbidden(
            field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    elif watch and match and not initial:
        check.forbidden(
            field, f"{field} is forbidden for watch unless sendInitialEvents is provided"
        )
    elif not watch and match and not version:
        check.forbidden(field, f"{field} is forbidden unless resourceVersion is provided")
    elif match and match not in {"Exact", "NotOlderThan"}:
        check.unsupported(field, match, ("Exact", "NotOlderThan"))
    if check.causes:
        raise invalid(META, "ListOptions", "", check.causes)


def parse_version(text: str) -> int:
    """A resourceVersion; raises ApiError 500 for what is none (the words of Go's strconv)."""
    if not re.fullmatch("[0-9]{1,19}", text):
        raise ApiError(
            500,
            "",
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax",
        )
    return int(text)


def build_continue(version: int, key: str) -> str:
    """The token by which a list goes on after `key`."""
    token = {"v": f"{META}/v1", "rv": version, "start": f"{key}\x00"}
    text = json.dumps(token, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_continue(token: str) -> tuple[int, str]:
    """Its resourceVersion and the key after which to go on; raises ApiError 400."""
    text = ""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        parsed = json.loads(text)
        version, start = int(parsed["rv"]), str(parsed["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request(
            f"invalid continue token: continue key is not valid: {_say(error, text)}"
        ) from error
    return version, start.rstrip("\x00")


def _say(error: Exception, text: str) -> str:
    """What Go's decoder says of a text that should have been JSON."""
    for literal in ("null", "true", "false"):
        if text[:1] == literal[0]:
            for found, expected in zip(text, literal, strict=False):
                if found != expected:
                    at = f"in literal {literal} (expecting '{expected}')"
                    return f"invalid character '{found}' {at}"
    return str(error)


def parse_dry_run(query: Mapping[str, str], options_kind: str) -> bool:
    """dryRun=All, or nothing; raises ApiError 422."""
    value = query.get("dryRun", "")
    if value in {"", "All"}:
        return value == "All"
    message = f'Unsupported value: ["{value}"]: supported values: "All"'
    cause = Cause("FieldValueNotSupported", message, "dryRun")
    raise invalid(META, options_kind, "", [cause])


def parse_field_validation(query: Mapping[str, str], options_kind: str) -> str:
    """What becomes of unknown fields: Ignore, Warn or Strict; raises ApiError 422."""
    value = query.get("fieldValidation", "")
    if value in {"", *FIELD_VALIDATIONS}:
        return value or "Warn"
    listed = ", ".join(f'"{each}"' for each in FIELD_VALIDATIONS)
    message = f'Unsupported value: "{value}": supported values: {listed}'
    cause = Cause("FieldValueNotSupported", message, "fieldValidation")
    raise invalid(META, options_kind, "", [cause])


def _parse_int(name: str, text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise bad_request(
            f'cannot convert to {qualify("int64", "")}: strconv.ParseInt: parsing "{text}": '
            f"invalid syntax ({name})"
        )
    return int(text)
