"""What became of each case, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

MATCHED, DECLINED, WRONG, LISTED = "matched", "declined", "WRONG", "listed"

UNKNOWN = ("the server could not find the requested resource", "404 page not found")


@dataclass(frozen=True)
class Verdict:
    """`details` are the differences of a wrong answer, or why a case was declined."""

    result: str
    details: tuple[str, ...] = ()


def judge(status: int, body: object, recorded_status: int, differences: list[str]) -> Verdict:
    """Of one answer: wrong, unless it matches or says openly that the lab has no such thing."""
    if status == recorded_status and not differences:
        return Verdict(MATCHED)
    said = str(body.get("message", "") if isinstance(body, dict) else body)
    if status == 501 or (status == 404 and said.strip().startswith(UNKNOWN)):
        return Verdict(DECLINED, (f"{status} {said}",))
    if status != recorded_status:
        differences = [f"status {status} instead of {recorded_status}: {body!r:.1500}"]
    return Verdict(WRONG, tuple(differences))


@dataclass
class Results:
    """Of one folder."""

    folder: str
    cases: frozenset[str]
    listed: Mapping[str, str]
    """Cases that are not replayed, and why."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def count(self, result: str) -> int:
        if result == LISTED:
            return len(self.listed)
        return Counter(verdict.result for verdict in self.verdicts.values())[result]

    def list_unaccounted(self) -> list[str]:
        """What is neither replayed nor listed, or both, or listed though no such case exists."""
        replayed, listed = self.verdicts.keys(), self.listed.keys()
        return sorted((self.cases ^ (replayed | listed)) | (replayed & listed))

    def list_wrong(self) -> Iterator[str]:
        for name, verdict in sorted(self.verdicts.items()):
            if verdict.result == WRONG:
                yield "\n    ".join((f"{self.folder}/{name}", *verdict.details[:8]))


def build_table(results: Iterable[Results]) -> list[str]:
    """Lines for a terminal: a folder each, and the sum."""
    listed = list(results)
    columns = (MATCHED, DECLINED, WRONG, LISTED)
    rows = [[each.folder, *(each.count(c) for c in columns), len(each.cases)] for each in listed]
    sums = [sum(row[i] for row in rows) for i in range(1, len(columns) + 2)]
    lines = [("folder", *columns, "of"), *map(tuple, rows), ("all", *sums)]
    return [f"{line[0]:22}" + "".join(f"{each:>14}" for each in line[1:]) for line in lines]
