"""Both images built as their Dockerfiles say, without a registry and without an index.

The base is a Debian of our own with Python and pip, committed under the name that stands behind
FROM; what is pinned comes from a folder of wheels that was filled outside. Base and wheels are kept
in a cache between runs: $KTNET_IMAGE_CACHE, /var/cache/ktnet-images where it isn't set.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("KTNET_IMAGE_CACHE", "/var/cache/ktnet-images"))
PYTHON_IMAGE = "docker.io/library/python:3.12-slim"
LOCKS = ("requirements.lock", "ktnet/shadow/requirements.txt")


@dataclass(frozen=True)
class BuiltImage:
    """An image as a directory, and its OCI configuration (image-spec, config.md)."""

    root: Path
    config: dict[str, Any]


class Builder:
    """buildah with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        # Layers upon layers where the kernel has them there; else whole copies, at twice the time.
        overlay, vfs = (
            [
                *("--root", str(directory / driver / "graph")),
                *("--runroot", str(directory / driver / "run"), "--storage-driver", driver),
            ]
            for driver in ("overlay", "vfs")
        )
        probe = ["buildah", *overlay, "images"]
        works = subprocess.run(probe, capture_output=True, check=False).returncode == 0
        self._options = overlay if works else vfs

    def run(self, *arguments: str) -> str:
        """What it prints; raises AssertionError with its last words."""
        done = subprocess.run(
            ["buildah", *self._options, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"buildah {arguments[0]}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def build(self, dockerfile: str, tag: str, context: Path) -> BuiltImage:
        """An image of a context that has the wheels in `wheelhouse`."""
        self.run(
            *("bud", "--isolation", "chroot", "--pull=never", "--format", "oci"),
            *("--build-arg", "WHEELS=wheelhouse"),
            *("--build-arg", "PIP_OPTIONS=--no-index --find-links /wheels"),
            *("--file", str(context / dockerfile), "--tag", tag, str(context)),
        )
        config = json.loads(self.run("inspect", "--type", "image", tag))["OCIv1"]["config"]
        container = self.run("from", "--pull=never", tag)
        return BuiltImage(Path(self.run("mount", container)), config)


@contextmanager
def build_images(directory: Path) -> Iterator[dict[str, BuiltImage]]:
    """ "shadow" and "client", gone afterwards."""
    CACHE.mkdir(parents=True, exist_ok=True)
    context = directory / "context"
    builder = Builder(CACHE / "storage")
    # One test run at a time: the storage is shared, and cleaned up as a whole.
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wheels = make_wheels()
        commit_base(builder)
        make_context(context, wheels)
        try:
            with ThreadPoolExecutor() as both:
                shadow = both.submit(
                    builder.build, "shadow-image/Dockerfile", "ktnet-shadow:built", context
                )
                client = both.submit(builder.build, "Dockerfile", "ktnet:built", context)
            yield {"shadow": shadow.result(), "client": client.result()}
        finally:
            builder.run("rm", "--all")
            for tag in ("ktnet-shadow:built", "ktnet:built"):
                builder.run("rmi", "--force", tag)
            shutil.rmtree(context)


def commit_base(builder: Builder) -> None:
    """Under the name that stands behind FROM, unless it is there from another run."""
    base = make_base()
    if PYTHON_IMAGE in builder.run("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    scratch = builder.run("from", "scratch")
    builder.run("add", "--quiet", scratch, str(base), "/")
    builder.run("commit", "--quiet", "--rm", scratch, PYTHON_IMAGE)


def make_base() -> Path:
    """A tar archive of a bare Debian with Python and pip."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    )
    suite = release.get("VERSION_CODENAME", "bookworm").strip('"')
    archive = CACHE / f"base-{suite}.tar"
    if archive.exists():
        return archive
    root = CACHE / f"base-{suite}.{os.getpid()}"
    try:
        options = ("--variant=minbase", "--include=python3,python3-pip")
        subprocess.run(["debootstrap", *options, suite, str(root)], check=True, stdout=sys.stderr)
        for kept in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
            shutil.rmtree(root / kept)
        # As in Python's own image: it is called "python", and pip may install.
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for mark in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            mark.unlink()
        draft = archive.with_name(f"{archive.name}.{os.getpid()}")
        subprocess.run(["tar", "-C", str(root), "-cf", str(draft), "."], check=True)
        draft.rename(archive)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return archive


def make_wheels() -> Path:
    """A folder with what both locks pin, for the base's Python, which is this machine's too."""
    text = "".join((ROOT / lock).read_text() for lock in LOCKS)
    folder = CACHE / f"wheels-{sha256(text.encode()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    draft = folder.with_suffix(f".{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    for lock in LOCKS:
        options = ("--no-deps", "--require-hashes", "-r", str(ROOT / lock))
        subprocess.run([*pip, *options, "-d", str(draft)], check=True, capture_output=True)
    # What pip builds our own package with.
    builds = ("--no-deps", "setuptools>=66", "wheel", "-d", str(draft))
    subprocess.run([*pip, *builds], check=True, capture_output=True)
    draft.rename(folder)
    return folder


def make_context(context: Path, wheels: Path) -> None:
    """What `docker build .` would send, and the wheels."""
    context.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.lock", "Dockerfile"):
        shutil.copy(ROOT / name, context)
    for name in ("ktnet", "shadow-image"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(wheels, context / "wheelhouse")


def count_bytes(directory: Path) -> int:
    """Of all files in it."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())
