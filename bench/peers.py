"""The peers: OpenSSH's server and client, and sshuttle, without installing anything on the machine.

The server's package is unpacked beside the benchmark instead of being installed: an installed one
would be started.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / ".peers"


def find_ssh() -> str:
    """The path of ssh(1). RuntimeError where there is none."""
    found = shutil.which("ssh")
    if found is None:
        raise RuntimeError("no ssh here: apt-get install openssh-client")
    return found


def find_sshd() -> tuple[str, dict[str, str]]:
    """The path of sshd(8), unpacked where it isn't installed, and the environment that it needs."""
    installed = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if installed is not None:
        return installed, {}
    root = HERE / "openssh"
    if not (root / "usr/sbin/sshd").exists():
        root.mkdir(parents=True, exist_ok=True)
        packages = ["openssh-server", "libwrap0"]
        try:
            subprocess.run(["apt-get", "download", "-q", *packages], cwd=root, check=True)
        except subprocess.CalledProcessError:
            subprocess.run(["apt-get", "update", "-q"], check=True)
            subprocess.run(["apt-get", "download", "-q", *packages], cwd=root, check=True)
        for package in root.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    (libraries,) = {path.parent for path in root.glob("**/libwrap.so.0")}
    return str(root / "usr/sbin/sshd"), {"LD_LIBRARY_PATH": str(libraries)}


def find_sshuttle() -> str:
    """The path of sshuttle, installed into an environment of its own."""
    environment = HERE / "sshuttle"
    command = environment / "bin/sshuttle"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin/python"), "-m", "pip", "install", "-q", "sshuttle==1.3.2"]
        subprocess.run(pip, check=True)
    return str(command)
