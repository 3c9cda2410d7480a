"""The ring of the last queries."""

from __future__ import annotations

from ktnet.dns.policy import Zone
from ktnet.dns.recent import MOST, RecentQueries


def test_the_newest_come_first_and_the_oldest_are_forgotten() -> None:
    recent = RecentQueries()
    for number in range(MOST + 5):
        recent.add((b"n%d" % number, b"demo"), 28, Zone.CLUSTER, 3, number % 2 == 0, 0.25)
    told = recent.describe(1000)
    assert len(told) == MOST
    assert told[0]["name"].startswith(f"n{MOST + 4}.demo")
    assert told[-1]["name"].startswith("n5.demo")
    assert [(each["name"]) for each in recent.describe(2)] == [each["name"] for each in told[:2]]
    first = {key: told[0][key] for key in ("type", "zone", "answer", "from_memory", "took_s")}
    assert first == {
        "type": "AAAA",
        "zone": "cluster",
        "answer": "NXDOMAIN",
        "from_memory": True,
        "took_s": 0.25,
    }
    assert recent.describe(0) == []


def test_octets_that_are_no_text_are_escaped() -> None:
    recent = RecentQueries()
    recent.add((b"a.b\x00\xff", b"x"), 1, Zone.OUTSIDE, 0, False, 0.0)
    assert recent.describe(1)[0]["name"].startswith(r"a\046b\000\255.x")
