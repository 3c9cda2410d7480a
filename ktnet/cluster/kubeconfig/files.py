"""Which kubeconfig files there are, read and merged."""

from __future__ import annotations

import os
from pathlib import Path

from ktnet.cluster.kubeconfig.model import Kubeconfig
from ktnet.cluster.kubeconfig.parse import merge_kubeconfigs, parse_kubeconfig
from ktnet.errors import UsageError


def find_files(explicit: str | None) -> list[Path]:
    """The files that kubectl would read, those that are there: the one named, else those of
    $KUBECONFIG, else ~/.kube/config.

    One that was named has to be there: UsageError.
    """
    if explicit:
        path = Path(explicit).absolute()
        if not _may_exist(path):
            raise _none(explicit)
        return [path]
    named = os.environ.get("KUBECONFIG")
    names = named.split(os.pathsep) if named else [str(default_file())]
    paths = [Path(name).absolute() for name in dict.fromkeys(names) if name]
    return [path for path in paths if _may_exist(path)]


def default_file() -> Path:
    """~/.kube/config; of the user that we are, where the environment doesn't say."""
    try:
        return Path.home() / ".kube" / "config"
    except RuntimeError as error:  # no $HOME, and a uid without a name
        raise UsageError(
            "no kubeconfig: this user has no home directory",
            hint="name one with --kubeconfig or $KUBECONFIG, as for kubectl",
        ) from error


def read_files(paths: list[Path]) -> Kubeconfig:
    """What they say together, the first one first. Raises UsageError."""
    return merge_kubeconfigs(parse_kubeconfig(_read(path), str(path)) for path in paths)


def no_kubeconfig() -> UsageError:
    """The error where there is none at all."""
    return _none(os.environ.get("KUBECONFIG") or str(default_file()))


def _none(paths: str) -> UsageError:
    if "SUDO_UID" in os.environ:
        return UsageError(
            f"no kubeconfig: {paths} does not exist",
            hint="sudo may have removed $KUBECONFIG: run without it, ktnet asks for what it needs",
        )
    return UsageError(
        f"no kubeconfig: {paths} does not exist",
        hint="name one with --kubeconfig or $KUBECONFIG, as for kubectl",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from error


def _may_exist(path: Path) -> bool:
    """False where there is surely no such file; reading one that can't be seen says why."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return True
