"""The recordings of a real Kubernetes API server: where they are, and one case of them.

Their README.md says what is in them. They are no part of this project's tree: they lie beside the
checkout (or, in continuous integration, beside that), or where KTNET_RECORDINGS says.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def find_recordings() -> Path | None:
    """The folder that holds 01-discovery and the others; None where it is missing."""
    named = os.environ.get("KTNET_RECORDINGS")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "kubernetes-api"]
    return next((place for place in places if (place / "02-crud").is_dir()), None)


@dataclass(frozen=True)
class Case:
    """One file: usually one request and its answer."""

    folder: str
    name: str
    document: dict[str, Any]

    @property
    def method(self) -> str:
        return self.document["request"]["method"]

    @property
    def path(self) -> str:
        return self.document["request"]["path"]

    @property
    def query(self) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.document["request"].get("query") or []]

    @cached_property
    def headers(self) -> dict[str, str]:
        return dict(self.document["request"].get("headers") or {})

    @property
    def body(self) -> Any:
        """Parsed JSON, or the text that was sent, or None."""
        return self.document["request"].get("body")

    @property
    def status(self) -> int:
        return self.document["response"]["status"]

    @property
    def answer(self) -> Any:
        """The answer's body: parsed JSON, or text."""
        return self.document["response"].get("body")

    def answer_headers(self, name: str) -> list[str]:
        """All values of one header of the answer."""
        headers = self.document["response"].get("headers") or []
        pairs = headers.items() if isinstance(headers, dict) else headers
        return [value for key, value in pairs if key.lower() == name.lower()]


def load_cases(folder: Path) -> dict[str, Case]:
    """All cases of one folder, by name."""
    return {
        path.stem: Case(folder.name, path.stem, json.loads(path.read_text()))
        for path in sorted(folder.glob("*.json"))
    }


def list_events(case: Case) -> list[Any]:
    """Of a watch. Of a short one the answer was recorded as one: an event a line."""
    response = case.document["response"]
    if "events" in response:
        return [each["event"] for each in response["events"] or []]
    body = response["body"]
    return [json.loads(line) for line in body.splitlines()] if isinstance(body, str) else [body]
