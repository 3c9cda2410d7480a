"""Asking a lab for a fault: for `ktnet lab fault`, and for tests through the harness."""

from __future__ import annotations

from typing import Any

from ktnet.lab.control import ask
from ktnet.lab.entering import find_lab, require_root


def happen(lab: str, what: str, **arguments: Any) -> Any:
    """Has a fault happen; returns what the lab says of it, when it has happened.

    Raises NotFound where the lab doesn't run, RemoteProtocolError where it can't.
    """
    require_root()
    directory, _ = find_lab(lab)
    return ask(directory.socket, {"do": "fault", "what": what, **arguments})
