"""What killed helpers left behind, as far as anybody may see: journals that belong to no process.

The directory of journals may be listed by everybody, read by root alone. Only a helper can undo
what a journal says; here it is found that there is something to undo, at little cost: every command
looks.
"""

from __future__ import annotations

import os
from pathlib import Path

DIRECTORY = Path("/run/ktnet/journal")
"""Where the journals lie, a file each."""

_PF_EXITING = 4
"""Of the flags in linux/sched.h: it is in exit(2), whatever brought it there."""


def find_leftovers(directory: Path = DIRECTORY) -> tuple[Path, ...]:
    """Journals of this pid namespace whose helper has ended; none where that can't be seen."""
    try:
        journals = sorted(directory.glob("*.json"))
    except OSError:
        return ()
    return tuple(journal for journal in journals if not _is_alive(journal.stem))


def _is_alive(name: str) -> bool:
    """Whether there is a process of this pid and start time (proc_pid_stat(5), field 22) that isn't
    about to end (field 9)."""
    pid, _, start = name.partition("-")
    try:
        status = Path("/proc", pid, "stat").read_text(encoding="latin-1")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return os.path.exists(f"/proc/{pid}")  # noqa: PTH110
    fields = status.rpartition(")")[2].split()
    # One that was killed has closed its sockets, by which others hear of it, before it is a zombie.
    return fields[19] == start and fields[0] != "Z" and not int(fields[6]) & _PF_EXITING
