"""What a session remembers of what it has told its user."""

from __future__ import annotations

from ktnet.commands.events import MOST, MOST_CHARACTERS, Events
from ktnet.commands.progress import Progress


def test_who_asks_again_gets_what_is_new() -> None:
    events = Events()
    for number in range(MOST + 3):
        events.add("note", f"text {number}")
    assert len(events.describe(0)) == MOST
    assert [each["text"] for each in events.describe(MOST + 1)] == [
        f"text {MOST + 1}",
        f"text {MOST + 2}",
    ]
    assert events.describe(MOST + 3) == []


def test_a_long_text_is_cut() -> None:
    events = Events()
    events.add("note", "x" * 10_000)
    assert len(events.describe(0)[0]["text"]) == MOST_CHARACTERS


def test_steps_notes_and_ready_are_told_also_by_a_quiet_command() -> None:
    progress = Progress(quiet=True)
    progress.step("tunnel", "SSH by port-forward")
    progress.waiting("something that passes")
    progress.note("it broke")
    progress.show("export PROXY=1")
    progress.ready("Ctrl-C ends it")
    told = [(each["kind"], each["text"]) for each in progress.events.describe(0)]
    assert told[:2] == [("step", "tunnel: SSH by port-forward"), ("note", "it broke")]
    assert (told[2][0], len(told)) == ("ready", 3)
