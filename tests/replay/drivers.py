"""Which folders of recordings have a driver, and the seed by which all of them rename."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from live import can_run

SEED = int(os.environ.get("KTNET_REPLAY_SEED") or random.randrange(10**9))
DRIVERS = sorted(path.stem for path in Path(__file__).parent.glob("folder_*.py"))


def list_left_out(driver: Any) -> dict[str, str]:
    """The cases that are not replayed here, each with the reason."""
    live = () if can_run() else getattr(driver, "LIVE", ())
    return {**driver.LISTED, **dict.fromkeys(live, "needs a whole lab, and that root")}
