"""03-defaulting: what the API server fills in; what controllers and kubelet wrote 3 s later.

Of the objects that are read back, the status is put there as it was recorded: who writes it in the
lab is proven by 05-ownership and by the tests of controllers and kubelet.
"""

from __future__ import annotations

from replaying import Folder
from scene import add_shown, build_cluster

FOLDER = "03-defaulting"
MATCHED_AT_LEAST = 43

ALONE = ("pod-status-crash", "pod-status-nopull", "pod-status-unsched")
"""Pods whose creation was not recorded."""


async def replay(folder: Folder) -> None:
    async with folder.open_lab(build_cluster(folder)) as lab:
        for name in sorted(folder.cases):
            if not name.endswith("-create"):
                continue
            await lab.replay(name)
            read_back = name.replace("-create", "-read-back")
            if read_back in folder.cases:
                lab.settle(read_back)
                await lab.replay(read_back)
        for name in ALONE:
            add_shown(lab, folder.cases[name].answer)
            await lab.replay(name)
