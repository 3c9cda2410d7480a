"""03-defaulting: what the API server fills in; what controllers and kubelet wrote 3 s later.

Of the objects that are read back, the status is put there as it was recorded: who writes it in the
lab is proven by 05-ownership and by the tests of controllers and kubelet.
"""

from __future__ import annotations

from controllers import open_controllers, wait_until
from replaying import Folder
from scene import add_shown, build_cluster

from ktnet.lab.api.metadata import utc_now
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.endpoints import EndpointsController
from ktnet.lab.controllers.namespace import NamespaceController

FOLDER = "03-defaulting"
MATCHED_AT_LEAST = 46
LISTED: dict[str, str] = {}

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
    await replay_made(folder)


async def replay_made(folder: Folder) -> None:
    """What controllers put into a namespace, and beside a Service that selects nothing."""
    async with folder.open_lab(Store()) as lab:
        namespace = lab.name("transcripts")
        lab.store.create("namespaces", None, {"metadata": {"name": namespace}})
        spec = folder.cases["service-two-ports-create"].body["spec"]
        service = {"metadata": {"name": lab.name("df-svc2")}, "spec": spec}
        lab.store.create("services", namespace, service)
        made = (
            NamespaceController(lab.store, "<PEM placeholder>", utc_now),
            EndpointsController(lab.store, utc_now),
        )
        async with open_controllers(lab, *made):
            await wait_until(
                lambda: (
                    lab.store.list("serviceaccounts", namespace)
                    and lab.store.list("configmaps", namespace)
                    and lab.store.list("endpointslices", namespace)
                )
            )
            for name in ("default-serviceaccount", "kube-root-ca", "endpointslice-by-controller"):
                await lab.replay(name)
