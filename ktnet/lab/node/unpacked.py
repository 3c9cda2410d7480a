"""Images that were really built, as the lab's: unpacked root directories and their configuration.

$KTNET_LAB_IMAGES says which: "NAME=DIRECTORY", several with commas between; the directory holds
`rootfs` (a directory, or a link to one) and `config.json`, the "config" of an OCI image
(https://github.com/opencontainers/image-spec/blob/main/config.md).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ktnet.lab.node.images import Image, list_device_entries
from ktnet.lab.node.launch import Entry

VARIABLE = "KTNET_LAB_IMAGES"

_MADE_BY_RUNTIME = frozenset({"dev", "proc", "sys"})
_WRITTEN_TO = frozenset({"run", "tmp"})
"""By containers whose root isn't read-only, and for mounts: each container's own, where the image
has no files there."""

_MADE_BY_KUBELET = frozenset({"hostname", "hosts", "resolv.conf"})
"""Of /etc."""


def list_unpacked_images() -> dict[str, Image]:
    """By name; raises OSError, ValueError or KeyError where one is no image."""
    return dict(_list(os.environ.get(VARIABLE, "")))


def _list(text: str) -> Iterator[tuple[str, Image]]:
    for each in filter(None, text.split(",")):
        name, _, directory = each.rpartition("=")
        yield name, read_image(Path(directory))


def read_image(directory: Path) -> Image:
    """An image whose files nobody can change."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    uid, _, gid = str(config.get("User") or "0").partition(":")
    return Image(
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        entries=tuple(list_root_entries((directory / "rootfs").resolve())),
        environment=dict(each.split("=", 1) for each in config.get("Env") or ()),
        directory=config.get("WorkingDir") or "/",
        uid=int(uid),
        gid=int(gid or 0),
    )


def list_root_entries(root: Path) -> Iterator[Entry]:
    """The image's own files, and what a container runtime adds to them."""
    for path in sorted(root.iterdir()):
        if path.name in _WRITTEN_TO and not _has_files(path):
            mode = stat.S_IMODE(path.stat().st_mode)
            yield Entry("directory", f"/{path.name}", mode=mode)
        elif path.name not in _MADE_BY_RUNTIME | {"etc"}:
            yield _build_entry(path, f"/{path.name}")
    for path in sorted((root / "etc").iterdir()):
        if path.name not in _MADE_BY_KUBELET:
            yield _build_entry(path, f"/etc/{path.name}")
    yield from list_device_entries()
    yield Entry("proc", "/proc")
    yield Entry("sys", "/sys")


def _has_files(directory: Path) -> bool:
    return any(files for _, _, files in os.walk(directory))


def _build_entry(path: Path, target: str) -> Entry:
    if path.is_symlink():
        return Entry("link", target, source=str(path.readlink()))
    return Entry("bind", target, source=str(path), read_only=True)
