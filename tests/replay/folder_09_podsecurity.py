"""09-podsecurity: what namespaces' labels refuse and warn of, and what a restricted pod can do."""

from __future__ import annotations

from live import LiveLab
from live_pods import CONTAINERS, replay_containers
from pods import run_pod
from replaying import Folder, Lab
from scene import add_recorded, build_cluster

FOLDER = "09-podsecurity"
MATCHED_AT_LEAST = 26
LISTED: dict[str, str] = {}
LIVE = CONTAINERS


async def replay_live(lab: LiveLab) -> None:
    await replay_containers(lab)


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
    async with folder.open_lab(build_cluster(folder)) as lab:
        await replay_events(lab)


async def replay_existing_violators(lab: Lab) -> None:
    """As many pods as there were; the recording names the first of them."""
    name = "namespace-enforce-existing-violators"
    namespace = lab.name("transcripts")
    first = lab.name("badimage")
    for number in range(VIOLATORS):
        run_pod(lab.store, namespace, first if number == 0 else f"zz-{number}")
    await lab.replay(name)


async def replay_events(lab: Lab) -> None:
    """Events as they were written, a page of them; there was another page."""
    name = "deployment-offending-events"
    restricted, answer = lab.name(RESTRICTED), lab.folder.cases[name].answer
    lab.store.create("namespaces", None, {"metadata": {"name": restricted}})
    add_recorded(lab, name)
    more = lab.given(answer["items"][-1])
    later = {**more, "metadata": {"name": "zz", "namespace": restricted}}
    lab.store.create("events", restricted, later)
    await lab.replay(name)
