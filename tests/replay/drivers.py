"""Which folders of recordings have a driver, and the seed by which all of them rename."""

from __future__ import annotations

import os
import random
from pathlib import Path

SEED = int(os.environ.get("KTNET_REPLAY_SEED") or random.randrange(10**9))
DRIVERS = sorted(path.stem for path in Path(__file__).parent.glob("folder_*.py"))
