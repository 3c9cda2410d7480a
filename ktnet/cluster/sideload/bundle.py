"""Code and wheels as one archive, in parts that fit into ConfigMaps: pure but for reading ours."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

Json = dict[str, Any]

PART_BYTES = 1000 << 10
"""A ConfigMap holds at most 1 MiB of values
(https://kubernetes.io/docs/concepts/configuration/configmap/)."""

CODE = ("__init__.py", "errors.py", "wire", "stream", "shadow")
"""What of ktnet runs in the pod."""

PARTS, SITE = "/ktnet/parts", "/ktnet/site"
"""Where the bootstrap finds the parts, and where it unpacks them to."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archives, so that the same content is the same bytes."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is brought into the pod."""

    digest: str
    """SHA-256 of all parts one after the other, in hexadecimal digits."""
    parts: tuple[bytes, ...]
    soabi: str
    """Of the Python that it is for."""


def build_bundle(wheels: Mapping[str, bytes], soabi: str) -> Bundle:
    """The shadow's code and these wheels: a zip file of zip files, each to be unpacked."""
    archives = {"ktnet.zip": _build_zip(dict(_read_code()), zipfile.ZIP_DEFLATED), **wheels}
    whole = _build_zip(archives, zipfile.ZIP_STORED)
    parts = tuple(whole[at : at + PART_BYTES] for at in range(0, len(whole), PART_BYTES))
    return Bundle(sha256(whole).hexdigest(), parts, soabi)


def build_part(name: str, namespace: str, labels: dict[str, str], part: bytes) -> Json:
    """The ConfigMap called `name` with one part, under its own name as the key."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "immutable": True,
        "binaryData": {name: base64.b64encode(part).decode()},
    }


def list_part_names(session: str, bundle: Bundle) -> list[str]:
    """Of the ConfigMaps: in the order of the parts, which is the alphabet's too."""
    return [f"{session}-code-{number:02}" for number in range(len(bundle.parts))]


def read_bootstrap() -> str:
    """The program that unpacks it, for `python -c`."""
    return (Path(__file__).parent / "bootstrap.py").read_text(encoding="utf-8")


def _build_zip(files: Mapping[str, bytes], compression: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.compress_type, info.external_attr = compression, 0o644 << 16
            archive.writestr(info, files[name])
    return data.getvalue()


def _read_code() -> Iterator[tuple[str, bytes]]:
    root = Path(__file__).parents[2]
    for each in CODE:
        found = [root / each] if each.endswith(".py") else (root / each).rglob("*.py")
        for path in found:
            yield f"ktnet/{path.relative_to(root).as_posix()}", path.read_bytes()
