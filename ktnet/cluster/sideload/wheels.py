"""The shadow's wheels, fetched by pip: so its settings, mirrors and proxies count."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

from ktnet.cluster.server.answers import one_line
from ktnet.cluster.sideload.lock import check_wheels, parse_lock
from ktnet.cluster.sideload.platforms import Platform
from ktnet.errors import ShadowFailed

LOCK = Path(__file__).parents[2] / "shadow" / "requirements.txt"
"""As it ships with ktnet; the image is built from the same."""

_GLIBC_MINORS = range(17, 29)
"""Of the wheels that are taken: manylinux_2_17 (2014) to 2_28, as old as bases of today get."""

_BROKEN = re.compile(r"after connection broken by .*?(?:\[Errno -?\d+\] )?([^\]:'()]+)[')]*: /")
"""pip retries, and says at the end only that there is no such distribution."""


async def fetch_wheels(platform: Platform, folder: str | None) -> dict[str, bytes]:
    """Contents by file name, each as the lock has it.

    From the index that pip is set up with, or from `folder` alone. Raises ShadowFailed.
    """
    pins = parse_lock(LOCK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="ktnet-wheels-") as directory:
        await _run_pip(platform, folder, directory)
        wheels = {path.name: path.read_bytes() for path in sorted(Path(directory).iterdir())}
    # pip has checked this as well; but what goes into the cluster is for us to answer for.
    check_wheels(pins, wheels)
    return wheels


async def _run_pip(platform: Platform, folder: str | None, directory: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *build_pip_command(platform, folder, directory),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # A library that a test or a debugger preloads by PYTHONPATH is none of pip's business,
        # and a file called `pip.py` where the user happens to be neither.
        env={**os.environ, "PYTHONSAFEPATH": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    try:
        _, words = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise ShadowFailed(
            f"pip can't get the shadow's wheels: {find_cause(words.decode(errors='replace'))}",
            hint="behind a mirror, set pip up with it, or name a folder with --sideload-wheels",
        )


def build_pip_command(platform: Platform, folder: str | None, directory: str) -> list[str]:
    """https://pip.pypa.io/en/stable/cli/pip_download/, for another platform than this one."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(LOCK)]
    command += ["--implementation", "cp", "--python-version", f"3.{platform.minor}"]
    for minor in _GLIBC_MINORS:
        command += ["--platform", f"manylinux_2_{minor}_{platform.machine}"]
    command += ["--platform", f"manylinux2014_{platform.machine}"]
    if folder is not None:
        command += ["--no-index", "--find-links", folder]
    return [*command, "--dest", directory]


def find_cause(words: str) -> str:
    """The last error that pip has told, in a line."""
    if broken := _BROKEN.search(words):
        return one_line(f"no connection to its index: {broken[1]}")
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no word of why"]
    return one_line(errors[-1].removeprefix("ERROR:").strip())
