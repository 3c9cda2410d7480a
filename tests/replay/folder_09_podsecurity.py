"""09-podsecurity: what namespaces' labels refuse and warn of.

What a pod printed, and how its status then was, is the kubelet's part: those cases are compared as
far as the API server makes them.
"""

from __future__ import annotations

from pods import run_pod
from replaying import Folder, Lab
from scene import build_cluster

FOLDER = "09-podsecurity"
MATCHED_AT_LEAST = 21

RESTRICTED = "transcripts-restricted"
IN_ORDER = (
    "namespace-create-restricted",
    *("pod-offending-plain", "pod-offending-privileged-hostnetwork", "pod-offending-root-user"),
    *("deployment-offending", "deployment-offending-status"),
    *("pod-restricted-sysctls-create", "pod-restricted-sysctls-read-back"),
    *("pod-restricted-no-sysctls-create", "pod-restricted-no-sysctls-read-back"),
    *("pod-restricted-sysctls-off-create", "pod-restricted-sysctls-off-read-back"),
    *("pod-unsafe-sysctl", "pod-unsafe-sysctl-unrestricted-create"),
    *("pod-unsafe-sysctl-unrestricted-after", "pod-offending-privileged"),
    *("pod-offending-dry-run", "ephemeralcontainer-offending", "ephemeralcontainer-passing"),
    *("pod-baseline-in-baseline", "pod-baseline-plain", "pod-baseline-net-admin"),
)
VIOLATORS = 25


async def replay(folder: Folder) -> None:
    async with folder.open_lab(build_cluster(folder)) as lab:
        for name in IN_ORDER:
            lab.settle(name)
            await lab.replay(name)
            if name == "namespace-create-restricted":
                restricted = lab.name(RESTRICTED)
                account = {"metadata": {"name": "default"}}
                lab.store.create("serviceaccounts", restricted, account)
    async with folder.open_lab(build_cluster(folder)) as lab:
        await replay_existing_violators(lab)


async def replay_existing_violators(lab: Lab) -> None:
    """As many pods as there were; the recording names the first of them."""
    name = "namespace-enforce-existing-violators"
    namespace = lab.name("transcripts")
    first = lab.name("badimage")
    for number in range(VIOLATORS):
        run_pod(lab.store, namespace, first if number == 0 else f"zz-{number}")
    await lab.replay(name)
