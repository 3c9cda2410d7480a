"""The resolver's file on disk: made ours and given back, whatever it is and whoever interferes."""

import os
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ktnet.errors import Conflict, DnsError
from ktnet.host.resolver import (
    mend_resolver,
    plan_resolver_step,
    restore_resolver,
    survey_resolver,
    take_resolver,
)
from ktnet.host.resolver_plan import ResolverPlan
from ktnet.host.steps import ResolverStep

PLAN = ResolverPlan(IPv4Address("198.19.0.1"), ("cluster.local",))
FORMER = b"nameserver 10.0.0.1\noptions edns0\n# caf\xe9\n"
CHANGED = "was changed by somebody else"


def make_file(path: Path) -> None:
    path.write_bytes(FORMER)
    path.chmod(0o640)
    os.utime(path, ns=(1_600_000_000_000_000_001, 1_500_000_000_000_000_001))


def make_symlink(path: Path) -> None:
    make_file(path.with_name("target"))
    path.symlink_to("target")


def make_dangling_symlink(path: Path) -> None:
    path.symlink_to("../run/nowhere")


def make_nothing(path: Path) -> None:
    assert not path.exists()


KINDS = [make_file, make_symlink, make_dangling_symlink, make_nothing]


def state(directory: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in directory.iterdir():
        status = path.lstat()
        content = os.fspath(path.readlink()) if path.is_symlink() else path.read_bytes()
        found[path.name] = (
            *(content, status.st_mode, status.st_ino, status.st_nlink, status.st_mtime_ns),
            *(status.st_uid, status.st_gid),
        )
    return found


def taken(path: Path) -> ResolverStep:
    step = plan_resolver_step(PLAN, path)
    take_resolver(step)
    return step


@pytest.mark.parametrize("make", KINDS)
def test_taken_and_given_back(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    before = state(tmp_path)
    step = taken(path)
    assert path.read_bytes() == step.ours
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o644
    assert restore_resolver(step) == []
    assert state(tmp_path) == before
    assert restore_resolver(step) == [] or make is make_nothing  # again does no harm
    assert state(tmp_path) == before


@pytest.mark.parametrize("make", [make_file, make_symlink])
def test_rewritten_in_place_and_given_back(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    before = state(tmp_path)
    planned = plan_resolver_step(PLAN, path)
    step = ResolverStep(
        path, "rewrite", planned.ours, PLAN, plan_resolver_step(PLAN, path.resolve()).former
    )
    inode = path.stat().st_ino
    take_resolver(step)
    assert path.read_bytes() == step.ours
    assert path.stat().st_ino == inode
    assert restore_resolver(step) == []
    assert state(tmp_path) == before


@pytest.mark.parametrize("way", ["replace", "rewrite"])
@pytest.mark.parametrize("former", [b"nameserver 10.0.0.1\n", FORMER * 20])
def test_a_rewrite_that_was_cut_off_is_undone(tmp_path: Path, way: str, former: bytes) -> None:
    """Between writing over and cutting off, the file is the one text with the other's end."""
    path = tmp_path / "resolv.conf"
    path.write_bytes(former)
    planned = plan_resolver_step(PLAN, path)
    step = ResolverStep(path, "rewrite", planned.ours, PLAN, planned.former)
    first, second = (step.ours, former) if way == "rewrite" else (former, step.ours)
    path.write_bytes(first + second[len(first) :])
    assert restore_resolver(step) == []
    assert path.read_bytes() == former


@pytest.mark.parametrize("make", KINDS)
def test_a_step_that_was_not_made_is_undone_to_nothing(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    before = state(tmp_path)
    step = plan_resolver_step(PLAN, path)
    step.draft.write_bytes(b"half")
    if step.former.kind != "missing":
        os.link(path, step.backup, follow_symlinks=False)
    assert restore_resolver(step) == []
    assert state(tmp_path) == before


def test_the_former_file_comes_back_without_its_second_name(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    make_file(path)
    step = taken(path)
    step.backup.unlink()
    restore_resolver(step)
    status = path.stat()
    assert path.read_bytes() == FORMER
    assert status.st_mode & 0o7777 == 0o640
    assert status.st_mtime_ns == 1_500_000_000_000_000_001


def test_a_symlink_comes_back_without_its_second_name(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    make_symlink(path)
    step = taken(path)
    step.backup.unlink()
    restore_resolver(step)
    assert path.readlink() == Path("target")


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("how", ["in place", "by another file", "by a symlink"])
def test_who_rewrote_it_meanwhile_wins(
    tmp_path: Path, make: Callable[[Path], None], how: str
) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    step = taken(path)
    theirs = "nameserver 10.9.9.9\n"
    if how == "in place":
        path.write_text(theirs)
    elif how == "by another file":
        (tmp_path / "new").write_text(theirs)
        (tmp_path / "new").rename(path)
    else:
        (tmp_path / "theirs").write_text(theirs)
        path.unlink()
        path.symlink_to("theirs")
    notes = restore_resolver(step)
    assert len(notes) == 1
    assert CHANGED in notes[0]
    assert path.read_text() == theirs
    assert path.is_symlink() == (how == "by a symlink")
    assert not os.path.lexists(step.backup)
    assert not os.path.lexists(step.draft)


@pytest.mark.parametrize("make", KINDS)
def test_who_added_to_ours_keeps_the_addition(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    step = taken(path)
    path.write_bytes(b"# by dhcp\nnameserver 10.9.9.9\n" + step.ours)
    assert CHANGED in restore_resolver(step)[0]
    rest = path.read_text(encoding="latin-1")
    assert rest.startswith("# by dhcp\nnameserver 10.9.9.9\n")
    assert "198.19.0.1" not in rest
    assert "cluster.local" not in rest


@pytest.mark.parametrize("make", KINDS)
def test_a_change_that_leaves_no_nameserver_but_ours_brings_back_the_former(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    before = state(tmp_path)
    step = taken(path)
    path.write_bytes(step.ours + b"options rotate\n")
    assert restore_resolver(step) == []
    assert state(tmp_path) == before


@pytest.mark.parametrize("make", KINDS)
def test_a_file_that_was_removed_meanwhile_comes_back(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    before = state(tmp_path)
    step = taken(path)
    path.unlink()
    assert restore_resolver(step) == []
    assert state(tmp_path) == before


def test_a_second_session_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    make_file(path)
    taken(path)
    with pytest.raises(Conflict, match="in the hands of another"):
        plan_resolver_step(PLAN, path)


def test_a_power_cut_is_mended_without_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    make_symlink(path)
    before = state(tmp_path)
    assert mend_resolver(path) == []
    taken(path)
    assert "was put back" in mend_resolver(path)[0]
    assert state(tmp_path) == before
    assert mend_resolver(path) == []


def test_an_old_backup_beside_a_file_that_is_not_ours_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    make_file(path)
    path.with_name("resolv.conf.before-ktnet").write_text("of long ago")
    assert mend_resolver(path) == []
    restore_resolver(taken(path))
    assert path.read_bytes() == FORMER


def test_behind_a_stub_stand_the_real_nameservers(tmp_path: Path) -> None:
    path, behind = tmp_path / "resolv.conf", tmp_path / "behind"
    path.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
    missing = survey_resolver(path, behind)
    assert (missing.stub, missing.nameservers) == (True, ("127.0.0.53",))
    behind.write_text("nameserver 192.168.64.53\nsearch office.example\n")
    found = survey_resolver(path, behind)
    assert (found.stub, found.nameservers, found.search) == (True, ("192.168.64.53",), ())


@pytest.mark.parametrize(
    ("make", "kind"),
    list(zip(KINDS, ["file", "symlink", "symlink", "missing"], strict=True)),
)
def test_kinds_are_told_apart(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    make(tmp_path / "resolv.conf")
    assert survey_resolver(tmp_path / "resolv.conf", tmp_path / "none").kind == kind


def test_without_a_nameserver_the_local_machine_is_asked(tmp_path: Path) -> None:
    assert survey_resolver(tmp_path / "none", tmp_path / "none").nameservers == ("127.0.0.1",)


def test_a_file_too_large_for_a_resolver_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(DnsError, match="more than"):
        plan_resolver_step(PLAN, path)


def test_a_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").mkdir()
    with pytest.raises(DnsError, match="can't be read"):
        survey_resolver(tmp_path / "resolv.conf", tmp_path / "none")
