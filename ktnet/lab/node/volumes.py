"""A pod's volumes as directories in memory, and where its containers see them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ktnet.lab.node.environment import Find, find_content, read_field
from ktnet.lab.node.launch import Entry
from ktnet.lab.node.refusal import config_error
from ktnet.lab.node.tokens import IssueToken, list_token_files, write_token

Obj = dict[str, Any]

DEFAULT_MODE = 0o644
READ_ONLY_KINDS = ("configMap", "secret", "projected", "downwardAPI")


class Volumes:
    """The directories of one pod's volumes, in a file system that is memory.

    The node's daemon mounts it for itself alone, so nothing of it is ever on a disk.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fill(self, pod: Obj, find: Find) -> None:
        """Makes every volume; raises Refusal where an object is missing or a kind is unknown."""
        self._directory.mkdir(mode=0o755, exist_ok=True)
        for volume in pod["spec"].get("volumes") or ():
            directory = self._directory / volume["name"]
            directory.mkdir(mode=0o755, exist_ok=True)
            if "emptyDir" in volume:
                directory.chmod(0o777)
                continue
            for path, content, mode in list_volume_files(volume, pod, find):
                file = find_inside(directory, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                file.chmod(mode)

    def write_tokens(self, pod: Obj, issue: IssueToken) -> float | None:
        """Writes all tokens anew; the seconds until they have to be again (None: there are none).

        Raises Refusal where one can't be had.
        """
        renewals = []
        for wanted in list_token_files(pod):
            file = find_inside(self._directory / wanted.volume, wanted.path)
            write_token(file, issue(pod, list(wanted.audiences), wanted.lifetime_s), wanted)
            renewals.append(wanted.renewed_after_s)
        return min(renewals, default=None)

    def list_mounts(self, pod: Obj, container: Obj) -> Iterator[Entry]:
        """What a container sees of them."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        for mount in container.get("volumeMounts") or ():
            source = self._directory / mount["name"]
            if mount.get("subPath"):
                source = find_inside(source, mount["subPath"])
                if not source.exists():
                    source.mkdir(parents=True)
            fixed = any(kind in volumes[mount["name"]] for kind in READ_ONLY_KINDS)
            yield Entry(
                "bind",
                mount["mountPath"],
                source=str(source),
                read_only=fixed or bool(mount.get("readOnly")),
            )

    def make_termination_file(self, container: str) -> Path:
        """An empty file for a container's last words."""
        path = self._directory / f"{container}.termination-log"
        path.write_bytes(b"")
        path.chmod(0o666)
        return path

    def remove(self) -> None:
        """The pod is gone, and they with it."""
        shutil.rmtree(self._directory, ignore_errors=True)


def find_inside(directory: Path, path: str) -> Path:
    """`path` below `directory`; raises Refusal where it leads out of it.

    A container may have put links into a volume that another one mounts a part of.
    """
    found = (directory / path).resolve()
    if not found.is_relative_to(directory.resolve()):
        raise config_error(f"{path!r} leads out of its volume")
    return found


def list_volume_files(volume: Obj, pod: Obj, find: Find) -> Iterator[tuple[str, bytes, int]]:
    """(relative path, content, mode) of each file of a volume that comes from the API.

    All but tokens, which `write_tokens` makes, again and again.
    """
    for kind in ("configMap", "secret", "downwardAPI"):
        if kind in volume:
            mode = volume[kind].get("defaultMode", DEFAULT_MODE)
            yield from _list_source_files({kind: volume[kind]}, pod, find, mode)
            return
    if "projected" in volume:
        mode = volume["projected"].get("defaultMode", DEFAULT_MODE)
        for source in volume["projected"].get("sources") or ():
            yield from _list_source_files(source, pod, find, mode)
        return
    kinds = ", ".join(key for key in volume if key != "name")
    raise config_error(f'volume "{volume["name"]}": the lab has no volumes of kind {kinds}')


def _list_source_files(
    source: Obj, pod: Obj, find: Find, mode: int
) -> Iterator[tuple[str, bytes, int]]:
    namespace = pod["metadata"]["namespace"]
    if "downwardAPI" in source:
        for item in source["downwardAPI"].get("items") or ():
            path = item["fieldRef"]["fieldPath"]
            yield item["path"], read_field(pod, path).encode(), item.get("mode", mode)
        return
    for kind, plural in (("configMap", "configmaps"), ("secret", "secrets")):
        if kind not in source:
            continue
        content = find_content(plural, namespace, source[kind], find)
        if content is None:
            return
        for item in source[kind].get("items") or ({"key": key, "path": key} for key in content):
            if item["key"] not in content:
                raise config_error(f"references non-existent config key: {item['key']}")
            yield item["path"], content[item["key"]], item.get("mode", mode)
