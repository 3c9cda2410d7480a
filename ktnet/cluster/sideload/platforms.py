"""For which Python, and for which nodes, wheels are fetched."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.errors import Forbidden, ShadowFailed

Json = dict[str, Any]

ARCH_LABEL = "kubernetes.io/arch"
"""https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch"""

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Go's words for what Python's wheels call otherwise."""

_TAG_MINOR = re.compile(r":3\.(\d+)(?![\d])[^/]*$")


@dataclass(frozen=True, slots=True)
class Platform:
    """What runs the shadow: CPython 3.`minor` with glibc on nodes of `arch` (Go's word)."""

    minor: int
    arch: str

    @property
    def machine(self) -> str:
        """The architecture as wheels name it."""
        return _MACHINES[self.arch]

    @property
    def soabi(self) -> str:
        """What `sysconfig` of a Python says that takes the wheels (PEP 3149)."""
        return f"cpython-3{self.minor}-{self.machine}-linux-gnu"


def build_default_image() -> str:
    """Python's own image, of the minor version that runs the client."""
    return f"python:3.{sys.version_info.minor}-slim"


def parse_minor(image: str) -> int:
    """The minor version that an image's tag names ("python:3.12-slim"); else the client's own."""
    match = _TAG_MINOR.search(image)
    return int(match[1]) if match else sys.version_info.minor


async def find_platform(api: Api, image: str, node_selector: dict[str, str]) -> Platform:
    """What the shadow will meet. Raises ShadowFailed where there are no wheels for it.

    Where nodes can't be seen, most likely amd64; the pod is then bound to such nodes.
    """
    arch = node_selector.get(ARCH_LABEL) or await _find_arch(api, node_selector)
    if arch not in _MACHINES:
        raise ShadowFailed(
            f"--sideload has no wheels for nodes of {arch}",
            hint=f"it has for {' and '.join(_MACHINES)}: --node-selector {ARCH_LABEL}=amd64",
        )
    return Platform(parse_minor(image), arch)


async def _find_arch(api: Api, node_selector: dict[str, str]) -> str:
    try:
        listing = await api.list_all("nodes", keep=lambda node: {"metadata": node.get("metadata")})
    except Forbidden:
        return "amd64"
    return choose_arch(listing["items"], node_selector)


def choose_arch(nodes: Iterable[Json], node_selector: dict[str, str]) -> str:
    """The commonest architecture of those nodes that the pod may run on; else amd64."""
    labels = [(node.get("metadata") or {}).get("labels") or {} for node in nodes]
    counts = Counter(
        str(each[ARCH_LABEL])
        for each in labels
        if ARCH_LABEL in each and node_selector.items() <= each.items()
    )
    known = [(arch, count) for arch, count in counts.most_common() if arch in _MACHINES]
    return (known or counts.most_common() or [("amd64", 0)])[0][0]
