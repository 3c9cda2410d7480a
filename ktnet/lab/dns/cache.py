"""The cluster DNS's memory, as CoreDNS's plugin `cache 30` has one. Pure: callers say the time.

What was denied is denied for up to 30 s, though the name may be there by now; and answers to
queries with the DO bit are kept apart from the others. Both were recorded of CoreDNS 1.14.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from dnslib import QTYPE, RCODE, RR

from ktnet.lab.dns.zone import TTL_S, Answer

MOST_ENTRIES = 10_000
"""CoreDNS's own default."""

Key = tuple[str, int, bool]
"""Name, type and DO bit."""


@dataclass(frozen=True)
class _Entry:
    answer: Answer
    stored_s: float


class Cache:
    """Answers for 30 s each, with their TTLs counted down."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def answer(self, key: Key, now_s: float, ask: Callable[[], Answer]) -> Answer:
        """The remembered answer, or the one that `ask` gives, which is remembered."""
        entry = self._entries.get(key)
        if entry is not None and now_s < entry.stored_s + TTL_S:
            return build_aged(entry.answer, int(now_s - entry.stored_s))
        answer = ask()
        if answer.rcode in {RCODE.NOERROR, RCODE.NXDOMAIN}:
            self._entries[key] = _Entry(answer, now_s)
            self._entries.move_to_end(key)
            if len(self._entries) > MOST_ENTRIES:
                self._entries.popitem(last=False)
        return replace(answer)


def build_aged(answer: Answer, age_s: int) -> Answer:
    """The answer with all TTLs counted down."""
    return replace(
        answer,
        records=_age(answer.records, age_s),
        authority=_age(answer.authority, age_s),
        additional=_age(answer.additional, age_s),
    )


def _age(records: Iterable[RR], age_s: int) -> list[RR]:
    return [
        each
        if each.rtype == QTYPE.OPT
        else RR(each.rname, each.rtype, each.rclass, max(0, each.ttl - age_s), each.rdata)
        for each in records
    ]
