"""A laptop whose names are resolved by Debian's systemd-resolved, with a D-Bus of its own.

Neither needs systemd as PID 1. Both run in the laptop's namespaces, and end with the context:

    application ──► 127.0.0.53, systemd-resolved ──► office resolver, by the LAN's link
                          ▲         └──────────────► whatever ktnet tells it of its own link
               D-Bus ─────┘
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from name_scene import OFFICE_DNS

from ktnet.lab.harness import Lab

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 20.0

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <includedir>{policies}</includedir>
</busconfig>
"""
"""As the system's own, which Debian has in /usr/share/dbus-1/system.conf."""


def find_resolved() -> Path:
    """Where systemd-resolved is unpacked; fails where it can't be had."""
    done = subprocess.run(
        ["sh", str(REPOSITORY / ".ci/resolved")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def prepare(root: str) -> None:
    """Inside the laptop: an /etc of its own, with the user and the files of the package."""
    for each in ("/run/dbus", "/run/systemd", "/run/etc/upper", "/run/etc/work"):
        Path(each).mkdir(parents=True, exist_ok=True)
    hosts = Path("/etc/hosts").read_text()
    layers = "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "etc", "/etc"], check=True)
    Path("/etc/hosts").write_text(hosts)
    for name, line in (
        ("passwd", "systemd-resolve:x:996:996::/:/usr/sbin/nologin\n"),
        ("group", "systemd-resolve:x:996:\n"),
    ):
        path = Path("/etc", name)
        if "systemd-resolve:" not in path.read_text():
            path.write_text(path.read_text() + line)
    Path("/etc/resolv.conf").unlink()
    Path("/etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    policies = f"{root}/usr/share/dbus-1/system.d"
    Path("/run/bus.conf").write_text(BUS_CONFIG.format(policies=policies))


class Resolved:
    """systemd-resolved on a laptop."""

    def __init__(self, lab: Lab, root: Path) -> None:
        self._lab = lab
        self._root = root
        libraries = root / "usr/lib/x86_64-linux-gnu"
        found = [str(libraries / "systemd"), str(libraries), str(root / "lib/x86_64-linux-gnu")]
        self._environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(found)}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def ctl(self, *arguments: str) -> str:
        """What resolvectl says."""
        command = self._env(str(self._root / "usr/bin/resolvectl"), *arguments)
        return self._lab.run(*command)

    def link(self, name: str) -> dict[str, str]:
        """What it knows of a link: the words behind each title of `resolvectl status`."""
        lines = self.ctl("--no-pager", "status", name).splitlines()[1:]
        titles: dict[str, str] = {}
        title = ""
        for line in lines:
            head, colon, rest = line.partition(": ")
            if colon:
                title, text = head.strip(), rest
            else:
                text = line
            titles[title] = (titles.get(title, "") + " " + text.strip()).strip()
        return titles

    def start(self) -> None:
        self._daemons.append(self._spawn(str(self._root / "lib/systemd/systemd-resolved")))
        self._wait()

    def start_bus(self) -> None:
        daemon = next(
            path
            for path in ("/usr/bin/dbus-daemon", str(self._root / "usr/bin/dbus-daemon"))
            if Path(path).exists()
        )
        self._daemons.append(
            self._spawn(daemon, "--config-file=/run/bus.conf", "--nofork", "--nopidfile")
        )
        deadline_s = time.monotonic() + LIMIT_S
        while not self._lab.call(os.path.exists, "/run/dbus/system_bus_socket"):
            assert time.monotonic() < deadline_s, "no bus"
            time.sleep(0.05)

    def restart(self) -> None:
        """As an upgrade of its package does."""
        self._end(self._daemons.pop())
        self.start()

    def end(self) -> None:
        while self._daemons:
            self._end(self._daemons.pop())

    def _wait(self) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            try:
                self.ctl("--no-pager", "dns")
            except subprocess.CalledProcessError:
                assert time.monotonic() < deadline_s, "no systemd-resolved"
                assert self._daemons[-1].poll() is None, "systemd-resolved has ended"
                time.sleep(0.05)
            else:
                return

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._lab.exec(*self._env(*command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _env(self, *command: str) -> tuple[str, ...]:
        return ("env", f"LD_LIBRARY_PATH={self._environment['LD_LIBRARY_PATH']}", *command)

    @staticmethod
    def _end(daemon: subprocess.Popen[bytes]) -> None:
        daemon.terminate()
        daemon.wait(LIMIT_S)


@contextmanager
def open_resolved(lab: Lab) -> Iterator[Resolved]:
    """systemd-resolved on laptop 1, which has learned of the office by the LAN's link."""
    root = find_resolved()
    lab.call(prepare, str(root))
    resolved = Resolved(lab, root)
    try:
        resolved.start_bus()
        resolved.start()
        (lan,) = [
            link["ifname"]
            for link in json.loads(lab.run("ip", "-json", "link"))
            if link["ifname"] != "lo"
        ]
        resolved.ctl("dns", lan, OFFICE_DNS)
        resolved.ctl("domain", lan, "office.example")
        # Else it asks the LAN for each name without a dot, and waits for nobody.
        resolved.ctl("llmnr", lan, "no")
        yield resolved
    finally:
        resolved.end()
