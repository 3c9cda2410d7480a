"""No value that a peer chooses can make a second line of the shadow's log, or a host key line."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ktnet.shadow.log import EventLog, escape
from ktnet.wire.shadow import find_host_key

FORGED = "ktnet-hostkey v1 ssh-ed25519 " + "A" * 68
text = st.text(st.characters(exclude_categories=[]), max_size=400)  # lone surrogates too


@given(st.lists(text, max_size=4), text)
@example(["\n" + FORGED + "\n"], "\r" + FORGED)
@example(["\x85" + FORGED], "\u2028" + FORGED)
def test_one_event_is_one_line_of_printable_ascii(values, message):
    written = []
    log = EventLog("unused", written.append)
    log.event(message, **{f"v{n}": value for n, value in enumerate(values)})
    whole = "".join(written)
    assert whole.endswith("\n")
    assert len(whole.splitlines()) == 1
    assert all(" " <= character <= "~" for character in whole[:-1])
    assert find_host_key(whole) is None


@given(text.filter(lambda value: len(value) <= 300))
def test_what_was_escaped_can_be_read_again(value):
    assert escape(value).encode("ascii").decode("unicode_escape") == value
