"""Exchanges and runs that are killed: how they begin, and what they change."""

from __future__ import annotations

from functools import partial

from killing import LABEL, Place, Sessions, State

from ktnet.wire.record import ANNOTATION

_ACCOUNT = [(f"POST */{plural}", 1) for plural in ("serviceaccounts", "roles", "rolebindings")]
"""A dry run of each, and then it is made."""

CHANGES = {
    "scale": [
        *_ACCOUNT,
        *(("POST */jobs", 1), ("POST */leases", 1)),
        *((request, 2) for request, _ in _ACCOUNT),
        *(("PATCH */jobs/*", 1), ("PATCH */deployments/*", 1), ("PATCH */deployments/*", 2)),
        ("DELETE */jobs/*", 1),
    ],
    "selector": [
        *_ACCOUNT,
        *(("POST */jobs", 1), ("POST */leases", 1)),
        *((request, 2) for request, _ in _ACCOUNT),
        *(("PATCH */jobs/*", 1), ("POST */services", 1)),
        *(("PATCH */services/*", 1), ("PATCH */services/*", 2), ("DELETE */jobs/*", 1)),
    ],
    "run": [
        *(("POST */jobs", 1), ("POST */leases", 1), ("POST */services", 1)),
        ("DELETE */jobs/*", 1),
    ],
}
"""Each request by which a session changes something, and the how manieth of its kind it is; from
its beginning to its end."""


def build_sessions(mode: str) -> Sessions:
    """`ktnet exchange --mode MODE`, or `run`."""
    return Sessions(
        build_command=partial(_build_command, mode),
        build_title=partial(_build_title, mode),
        is_taken=partial(_is_taken, mode),
        owner=("jobs", *LABEL),
        slow="Job *",
    )


def _build_command(mode: str, place: Place) -> tuple[str, ...]:
    """A session that takes that workload, or makes a Service beside it."""
    common = ("-n", place.namespace, "--expose", "8080:8080", "--idle", "3600")
    if mode == "run":
        return ("run", f"own-{place.name}", *common)
    return ("exchange", _build_title(mode, place), "--mode", mode, *common)


def _build_title(mode: str, place: Place) -> str:
    return f"{'deployment' if mode == 'scale' else 'service'}/{place.name}"


def _is_taken(mode: str, state: State, place: Place) -> bool:
    kind = {"scale": "Deployment", "selector": "Service"}.get(mode)
    obj = state.get(f"{kind} {place.namespace}/{place.name}", {})
    return ANNOTATION in obj.get("metadata", {}).get("annotations", {})
