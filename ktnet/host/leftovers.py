"""What killed helpers left behind, as far as anybody may see: journals that belong to no process.

The directory of journals may be listed by everybody, read by root alone. Only a helper can undo
what a journal says; here it is found that there is something to undo.
"""

from __future__ import annotations

import os
from pathlib import Path

from ktnet.host.journal import DIRECTORY


def find_leftovers(directory: Path = DIRECTORY) -> tuple[Path, ...]:
    """Journals of this pid namespace whose helper has ended; none where that can't be seen."""
    try:
        journals = sorted(directory.glob("*.json"))
    except OSError:
        return ()
    return tuple(journal for journal in journals if not _is_alive(journal.stem))


def _is_alive(name: str) -> bool:
    """Whether there is a process of this pid and start time (field 22 of proc_pid_stat(5))."""
    pid, _, start = name.partition("-")
    try:
        status = Path("/proc", pid, "stat").read_text(encoding="latin-1")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return os.path.exists(f"/proc/{pid}")  # noqa: PTH110
    fields = status.rpartition(")")[2].split()
    return fields[19] == start and fields[0] != "Z"
