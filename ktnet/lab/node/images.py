"""The images of the lab: programs that are on this machine anyway, each in a root of its own.

Nothing is copied or unpacked: a root is made of bind mounts of the system's /usr, the Python that
runs the lab, and exactly the packages that the image is to hold.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import ktnet
from ktnet.lab.node.launch import Entry

SHADOW_DISTRIBUTIONS = ("asyncssh", "cryptography", "h2", "httptools")
"""What the shadow imports; what these require comes with them."""

SHADOW_FILES = ("__init__.py", "errors.py", "wire", "stream", "shadow")

HOME = "/app"
"""Prefix of the virtual environment in an image: only what is in it can be imported."""

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE_PACKAGES = f"{HOME}/lib/{PYTHON}/site-packages"

NOBODY = 65534

PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\n"
    f"nobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:/usr/sbin/nologin\n"
)
GROUP = f"root:x:0:\nnogroup:x:{NOBODY}:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"


@dataclass(frozen=True)
class Image:
    """What there is to run, as an OCI image's configuration says it, and its root directory."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    entries: tuple[Entry, ...]
    environment: dict[str, str] = field(
        default_factory=lambda: {
            "PATH": f"{HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }
    )
    directory: str = "/"
    uid: int = 0
    gid: int = 0


def list_images() -> dict[str, Image]:
    """Every image of the lab by the name that a pod asks for."""
    base = tuple(list_base_entries())
    workloads = Path(ktnet.__file__).parent / "lab" / "workloads"

    def workload(module: str) -> Image:
        path = f"{HOME}/{module}.py"
        entry = Entry("bind", path, source=str(workloads / f"{module}.py"), read_only=True)
        # Isolated, without site: these use the standard library alone and start in 15 ms.
        return Image((f"{HOME}/bin/python", "-I", "-S", path), (), (*base, entry))

    version = importlib.metadata.version("ktnet")
    return {
        f"ktnet-shadow:{version}": Image(
            ("python", "-m", "ktnet.shadow"),
            (),
            (*base, *list_shadow_entries()),
            uid=NOBODY,
            gid=NOBODY,
        ),
        "lab/http-echo:1": workload("http_echo"),
        "lab/streams:1": workload("streams"),
        "lab/udp-echo:1": workload("udp_echo"),
        "lab/python:1": Image((), ("python",), base),
        # What a registry has under that name: no package is installed in it.
        f"python:3.{sys.version_info.minor}-slim": Image((), ("python3",), base),
    }


def list_base_entries() -> Iterator[Entry]:
    """A system with a Python and nothing installed in it."""
    yield Entry("bind", "/usr", source="/usr", read_only=True)
    for name in ("bin", "lib", "lib32", "lib64", "sbin"):
        path = Path("/") / name
        if path.is_symlink():
            yield Entry("link", str(path), source=str(path.readlink()))
        elif path.is_dir():
            yield Entry("bind", str(path), source=str(path), read_only=True)
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        yield Entry("bind", sys.base_prefix, source=sys.base_prefix, read_only=True)
    for path in list_hidden_directories():
        yield Entry("tmpfs", str(path), read_only=True)
    for path in list_compilers():
        yield Entry("bind", str(path), source="/dev/null", read_only=True)
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        if Path(name).exists():
            yield Entry("bind", name, source=name, read_only=True)
    yield Entry("file", "/etc/passwd", source=PASSWD, mode=0o644)
    yield Entry("file", "/etc/group", source=GROUP, mode=0o644)
    yield Entry("file", "/etc/nsswitch.conf", source=NSSWITCH, mode=0o644)
    # A Python under root's home (pyenv) is for every user of the image.
    shared = Path(sys.base_prefix).is_relative_to("/root")
    yield Entry("directory", "/root", mode=0o755 if shared else 0o700)
    yield Entry("directory", "/run")
    yield Entry("link", "/var/run", source="/run")
    yield Entry("directory", "/tmp", mode=0o1777)  # noqa: S108 -- in an image
    yield from list_environment_entries()
    yield from list_device_entries()
    yield Entry("proc", "/proc")
    yield Entry("sys", "/sys")


def list_device_entries() -> Iterator[Entry]:
    """/dev as runc makes it: runtime-spec, config-linux.md, "Default Devices"."""
    yield Entry("tmpfs", "/dev")
    for name in ("full", "null", "random", "tty", "urandom", "zero"):
        yield Entry("bind", f"/dev/{name}", source=f"/dev/{name}")
    yield Entry("devpts", "/dev/pts")
    yield Entry("link", "/dev/ptmx", source="pts/ptmx")
    yield Entry("tmpfs", "/dev/shm", mode=0o1777)  # noqa: S108 -- in an image
    yield Entry("link", "/dev/fd", source="/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield Entry("link", f"/dev/{name}", source=f"/proc/self/fd/{number}")


def list_environment_entries() -> Iterator[Entry]:
    """An empty virtual environment: https://docs.python.org/3/library/site.html, pyvenv.cfg."""
    binaries = Path(sys.base_prefix) / "bin"
    configuration = f"home = {binaries}\ninclude-system-site-packages = false\n"
    yield Entry("file", f"{HOME}/pyvenv.cfg", source=configuration, mode=0o644)
    for name in ("python", "python3"):
        yield Entry("link", f"{HOME}/bin/{name}", source=str(binaries / PYTHON))
    yield Entry("directory", SITE_PACKAGES)


def list_hidden_directories() -> list[Path]:
    """What was installed on this machine beside the bare system."""
    base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    candidates = {
        Path("/usr/local"),
        Path("/usr/lib/python3/dist-packages"),
        *(Path(sysconfig.get_path(name, vars=base)) for name in ("purelib", "platlib")),
    }
    hidden: list[Path] = []
    for path in sorted(candidates):
        # Where the Python itself lives in /usr/local, only its packages can be hidden.
        holds_python = Path(sys.base_prefix).is_relative_to(path)
        hidden_already = any(path.is_relative_to(other) for other in hidden)
        if path.is_dir() and not holds_python and not hidden_already:
            hidden.append(path)
    return hidden


def list_compilers() -> set[Path]:
    """The compilers of this machine: a slim image has none.

    It makes a difference: `ctypes.util.find_library`, which asyncssh calls, asks a compiler where
    there is one, by way of a temporary file that a read-only root refuses.
    """
    found = (shutil.which(name, path="/usr/bin") for name in ("as", "cc", "clang", "gcc", "ld"))
    return {Path(path).resolve() for path in found if path is not None}


def list_shadow_entries() -> Iterator[Entry]:
    """The shadow's own modules and the packages it needs, and no others."""
    source = Path(ktnet.__file__).parent
    for name in SHADOW_FILES:
        path = source / name
        yield Entry("bind", f"{SITE_PACKAGES}/ktnet/{name}", source=str(path), read_only=True)
    for path in sorted(list_distribution_paths(SHADOW_DISTRIBUTIONS)):
        yield Entry("bind", f"{SITE_PACKAGES}/{path.name}", source=str(path), read_only=True)


def list_distribution_paths(names: tuple[str, ...]) -> set[Path]:
    """The top-level files and directories of these distributions and of all that they require."""
    paths: set[Path] = set()
    waiting = list(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on another system or by another Python
        for file in distribution.files or ():
            top = file.parts[0]
            if top not in {"..", "__pycache__"}:
                paths.add(Path(str(distribution.locate_file(top))))
        required = (each for each in distribution.requires or () if "extra ==" not in each)
        waiting.extend(parse_requirement_name(each) for each in required)
    return paths


def parse_requirement_name(requirement: str) -> str:
    """The name in front of a requirement, normalised (PEP 503)."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    if match is None:
        raise ValueError(f"{requirement!r} is no requirement")
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def build_full_name(image: str) -> str:
    """The image's name as containerd reports it: "docker.io/library/python:3.12-slim" for
    "python:3.12-slim" (https://github.com/distribution/reference, "normalized named")."""
    name, separator, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if not slash:
        domain, path = "docker.io", f"library/{name}"
    elif "." in first or ":" in first or first == "localhost":
        domain, path = first, rest
    else:
        domain, path = "docker.io", name
    tag = "" if digest or ":" in path else ":latest"
    return f"{domain}/{path}{tag}{separator}{digest}"


def build_image_id(full_name: str) -> str:
    """A digest that is the same whenever the name is."""
    return f"sha256:{sha256(full_name.encode()).hexdigest()}"


def build_pull_error(image: str) -> str:
    """What containerd says where it can't pull: in a lab there is no registry to be found.

    Recorded in 03-defaulting/pod-status-nopull, for another name and resolver.
    """
    full_name = build_full_name(image)
    domain, _, path = full_name.partition("/")
    path, _, tag = path.partition("@") if "@" in path else path.rpartition(":")
    host = "registry-1.docker.io" if domain == "docker.io" else domain
    shown = full_name if domain == "docker.io" else image
    return (
        f'failed to pull and unpack image "{shown}": failed to resolve image: '
        f'failed to do request: Head "https://{host}/v2/{path}/manifests/{tag}": '
        f"dial tcp: lookup {host.split(':')[0]}: no such host"
    )
