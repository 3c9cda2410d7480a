"""Runs in the pod, before anything of ours is there: standard library only, its text a command.

Arguments: SHA-256 of what the client sent, the ABI it is for, and those of the shadow.
"""

import hashlib
import io
import os
import signal
import sys
import sysconfig
import zipfile
from pathlib import Path

# Process 1 is killed by no signal that it does not handle.
signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

PARTS, SITE = Path("/ktnet/parts"), Path("/ktnet/site")


def main(digest: str, abi: str, *arguments: str) -> None:
    """Check, unpack, and become the shadow."""
    found = sysconfig.get_config_var("SOABI")
    if found != abi:
        sys.exit(f"ktnet: this image's Python is {found}, and the client sent wheels for {abi}")
    whole = b"".join(path.read_bytes() for path in sorted(PARTS.iterdir()) if path.is_file())
    if hashlib.sha256(whole).hexdigest() != digest:
        sys.exit("ktnet: what lies in the ConfigMaps is not what the client sent; nothing is run")
    with zipfile.ZipFile(io.BytesIO(whole)) as archives:
        for name in archives.namelist():
            with zipfile.ZipFile(io.BytesIO(archives.read(name))) as archive:
                archive.extractall(SITE)
    command = (sys.executable, "-s", "-P", "-m", "ktnet.shadow", *arguments)
    os.execve(command[0], command, {**os.environ, "PYTHONPATH": str(SITE)})  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
