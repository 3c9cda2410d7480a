"""Who runs what: the client is the user, and only its helper is root; with a real sudo."""

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from host_sandbox import ETC, differences, host_state, ip, run, run_in_sandbox, seconds_until

pytestmark = pytest.mark.lab

UID = 65534
HERE = str(Path(__file__).parent)
NOPASSWD = f"nobody ALL=(root) NOPASSWD: {sys.executable} -I -m ktnet.host.helper\n"
WITH_PASSWORD = f"nobody ALL=(root) {sys.executable} -I -m ktnet.host.helper\n"
PAM = "auth required {}\naccount required pam_permit.so\nsession required pam_permit.so\n"


def prepare_sudo(sudoers: str) -> None:
    """A machine with these rules of sudo, and a device that only the helper may open."""
    if shutil.which("sudo") is None:
        pytest.fail("these tests take the Debian package sudo: see .ci/system-packages")
    pam = ETC / "pam.d"
    pam.mkdir()
    (pam / "sudo").write_text(PAM.format("pam_deny.so"))
    (ETC / "sudoers").write_text(f"Defaults env_reset, use_pty\n{sudoers}")
    (ETC / "sudoers").chmod(0o440)
    (ETC / "hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")


def as_user(program: str) -> list[str]:
    """The command that runs a program of Python as an ordinary user."""
    code = f"import sys; sys.path.insert(0, {HERE!r}); {program}"
    drop = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    return [*drop, sys.executable, "-c", code]


HOLD = "from test_host_undo import hold; hold()"
ATTEMPT = (
    "from test_host_errors import attempt; error = attempt(); "
    "print(type(error).__name__, error.message)"
)


def test_an_ordinary_user_is_connected_by_sudo() -> None:
    run_in_sandbox(by_sudo)


def by_sudo() -> None:
    prepare_sudo(NOPASSWD)
    before = host_state()
    hostile = {**os.environ, "PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere"}
    with subprocess.Popen(as_user(HOLD), stdout=subprocess.PIPE, text=True, env=hostile) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "captured\n"
        assert [link["ifname"] for link in ip("link")][-1] == "ktnet0"
        assert status_of(client.pid, "Uid").split()[0] == str(UID)
        (journal,) = Path("/run/ktnet/journal").glob("*.json")
        helper = int(journal.stem.partition("-")[0])
        assert status_of(helper, "Uid").split()[0] == "0"
        # CHOWN, DAC_OVERRIDE, FOWNER, NET_BIND_SERVICE, NET_ADMIN, NET_RAW: no SYS_ADMIN.
        assert int(status_of(helper, "CapEff"), 16) & ~0x340B == 0
        assert int(status_of(helper, "CapBnd"), 16) & ~0x340B == 0
        assert status_of(helper, "NoNewPrivs") == "1"
        assert Path(f"/proc/{helper}/cwd").readlink() == Path("/")
        # sudo has done its part; nothing of it stands between client and helper.
        assert "sudo" not in run("ps", "-o", "comm=", "--ppid", str(client.pid), "--pid", "1")
        client.kill()
        seconds_until(lambda: host_state() == before, 5.0)
    assert differences(before, host_state()) == []


def status_of(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(field + ":"))


@pytest.mark.parametrize("case", ["missing", "refused", "no terminal"])
def test_no_root_by_sudo(case: str) -> None:
    run_in_sandbox(no_root_by_sudo, case)


def no_root_by_sudo(case: str) -> None:
    prepare_sudo(WITH_PASSWORD if case == "no terminal" else "")
    environment = {**os.environ, "PATH": "/nowhere"} if case == "missing" else None
    command = as_user(ATTEMPT)
    command[0] = shutil.which(command[0]) or ""
    if case == "missing":
        command[-1] = command[-1].replace("attempt()", "attempt(read_state=False)")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        start_new_session=True,
    )
    assert done.stdout.startswith("HostPermissionError "), done.stderr
    assert "root's rights" in done.stdout
    assert ("no sudo here" in done.stdout) == (case == "missing")


def test_ctrl_c_while_sudo_asks_for_the_password() -> None:
    run_in_sandbox(ctrl_c_at_the_prompt)


def ctrl_c_at_the_prompt() -> None:
    prepare_sudo(WITH_PASSWORD)
    (ETC / "pam.d" / "sudo").write_text(PAM.format("pam_unix.so"))
    before = host_state()
    pid, terminal = pty.fork()
    if pid == 0:
        command = as_user(HOLD)
        os.execvp(command[0], command)
    said = read_until(terminal, b"password for nobody")
    assert b"to change this machine's network" in said
    os.write(terminal, b"\x03")
    read_until(terminal, b"")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) != 0
    after = host_state()
    del before["run"], after["run"]  # where sudo itself keeps what it remembers
    assert differences(before, after) == []


def read_until(terminal: int, text: bytes, limit_s: float = 20.0) -> bytes:
    """What the terminal shows up to a text, or (where that is empty) to its end."""
    said, end_s = b"", time.monotonic() + limit_s
    while not text or text not in said:
        assert time.monotonic() < end_s, said
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # EIO: nobody has it open any more
                part = b""
            if not part:
                assert not text, said
                break
            said += part
    return said


def test_a_socket_of_somebody_else_is_refused() -> None:
    run_in_sandbox(foreign_socket)


def foreign_socket() -> None:
    """A pair that another user made (here: root), given to a helper started for this one."""
    prepare_sudo(NOPASSWD)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = (
        f"import subprocess; done = subprocess.run(['sudo', {sys.executable!r}, '-I', '-m', "
        "'ktnet.host.helper'], capture_output=True, text=True, stdin=None); "
        "print(done.returncode, done.stderr)"
    )
    done = subprocess.run(
        as_user(program), stdin=theirs.fileno(), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("1 ktnet: the helper was started with a socket of uid 0")
    ours.close()
    theirs.close()


@pytest.mark.parametrize("uid", [str(UID), "4711"])
def test_root_by_sudo_goes_back_to_the_user(uid: str) -> None:
    run_in_sandbox(goes_back, uid)


def goes_back(uid: str) -> None:
    said = run_as_root({"SUDO_UID": uid, "SUDO_GID": uid, "HOME": "/root", "USER": "root"})
    assert said["uid"] == [int(uid)] * 3
    assert said["gid"] == [int(uid)] * 3
    assert said["groups"] == [int(uid)]
    assert said["home"] == ("/nonexistent" if uid == str(UID) else "/")
    assert said["own descriptors"] is True
    assert int(said["CapEff"], 16) == 0


def test_plain_root_keeps_what_reads_a_kubeconfig() -> None:
    run_in_sandbox(plain_root)


def plain_root() -> None:
    said = run_as_root({"HOME": "/root"})
    assert said["uid"] == [0, 0, 0]
    assert int(said["CapEff"], 16) & ~0b110 == 0
    assert int(said["CapBnd"], 16) & ~0b110 == 0
    assert said["NoNewPrivs"] == "1"


def run_as_root(environment: dict[str, str]) -> dict:
    """What `step_down` leaves of a root process with this environment."""
    program = (
        "import json, os; from ktnet.host.privileges import step_down; step_down(); "
        "status = dict(line.split(':', 1) for line in open('/proc/self/status')); "
        "own = os.access(f'/proc/self/fd/{os.memfd_create(\"x\")}', os.R_OK); "
        "print(json.dumps({'uid': os.getresuid(), 'gid': os.getresgid(), "
        "'groups': os.getgroups(), 'home': os.environ['HOME'], 'own descriptors': own, "
        "**{k: status[k].strip() for k in ('CapEff', 'CapBnd', 'NoNewPrivs')}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_client_that_was_killed_leaves_a_sign_that_its_user_can_see() -> None:
    run_in_sandbox(sign)


def sign() -> None:
    prepare_sudo(NOPASSWD)
    before = host_state()
    with subprocess.Popen(as_user(HOLD), stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "captured\n"
        program = "from test_host_undo import kill_both_helpers; kill_both_helpers()"
        client.send_signal(signal.SIGSTOP)
        run(sys.executable, "-c", f"import sys; sys.path.insert(0, {HERE!r}); {program}")
        client.kill()
    ask = "from ktnet.host.leftovers import find_leftovers; print(len(find_leftovers()))"
    assert run(*as_user(ask)) == "1\n"
    said = run(*as_user("from ktnet.cli import main; sys.argv = ['ktnet', 'clean']; main()"))
    assert said.startswith("a former session (pid ")
    assert differences(before, host_state()) == []
