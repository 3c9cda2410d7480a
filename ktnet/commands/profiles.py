"""The user's configuration file: defaults for options, by profile.

    profile = "dev"                  # where --profile and $KTNET_PROFILE say nothing

    [profiles.dev]
    namespace = "demo"               # for every command that has --namespace
    image = "registry.example/ktnet-shadow:0.1.0"

    [profiles.dev.connect]           # for this command alone
    dns-exclude = ["corp.example"]

Keys are the options' long names. A flag counts more than the environment ($KTNET_NAMESPACE), which
counts more than the profile, which counts more than the default.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ktnet.errors import UsageError

Options = Mapping[str, Mapping[str, str]]
"""By command: long option name (without dashes) to the name of its parameter."""

NEVER = frozenset({"help", "force", "dry-run", "all-users"})
"""Options that somebody has to say each time."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What applies, as it was written."""

    name: str
    """Empty where there is none."""
    path: Path
    values: Mapping[str, Any]
    of_commands: Mapping[str, Mapping[str, Any]]


def find_config() -> Path:
    """$XDG_CONFIG_HOME/ktnet/config.toml (XDG Base Directory Specification); may not exist."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "ktnet/config.toml"


def may_exist(path: Path) -> bool:
    """Whether there is a file to be read; in a directory closed to us there is none for us."""
    try:
        return path.exists()
    except OSError:
        return False


def read_profile(path: Path, name: str | None, options: Options) -> Profile:
    """The profile `name`, or the one that the file chooses; an empty one where there is no file.

    Raises UsageError where the file can't be read, is no TOML, or has a key that nothing takes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if name is not None:
            raise UsageError(f"there is no profile {name!r}: {path} does not exist") from None
        return Profile("", path, {}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read {path}: {error}") from error
    return parse_profile(text, path, name, options)


def parse_profile(text: str, path: Path, name: str | None, options: Options) -> Profile:
    """Pure; see `read_profile`."""
    import tomllib

    try:
        config = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    _check_keys(config, ("profile", "profiles"), str(path))
    profiles = _table(config.get("profiles", {}), f"{path}: profiles")
    for each, content in profiles.items():
        _check_profile(_table(content, f"{path}: profiles.{each}"), each, path, options)
    chosen = name if name is not None else config.get("profile", "")
    if not isinstance(chosen, str):
        raise UsageError(f"{path}: profile has to be the name of one")
    if not chosen:
        return Profile("", path, {}, {})
    if chosen not in profiles:
        raise UsageError(
            f"{path} has no profile {chosen!r}", hint=_suggest(chosen, profiles) or "it has none"
        )
    content = profiles[chosen]
    return Profile(
        chosen,
        path,
        {key: value for key, value in content.items() if not isinstance(value, dict)},
        {key: value for key, value in content.items() if isinstance(value, dict)},
    )


def build_defaults(profile: Profile, options: Options) -> dict[str, dict[str, Any]]:
    """click's default_map: by command, by parameter."""
    defaults: dict[str, dict[str, Any]] = {}
    for command, known in options.items():
        values = {**profile.values, **profile.of_commands.get(command, {})}
        found = {known[key]: _plain(value) for key, value in values.items() if key in known}
        if found:
            defaults[command] = found
    return defaults


def list_options(commands: Iterable[tuple[str, click.Command]]) -> dict[str, dict[str, str]]:
    """What each command takes."""
    return {name: dict(_list_names(command)) for name, command in commands}


def _list_names(command: click.Command) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name:
            for text in parameter.opts:
                if text.startswith("--") and text[2:] not in NEVER:
                    yield text[2:], parameter.name


def _check_profile(content: Mapping[str, Any], name: str, path: Path, options: Options) -> None:
    everywhere = {key for known in options.values() for key in known}
    where = f"{path}: profiles.{name}"
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in options:
                raise UsageError(f"{where}: no command {key!r}", hint=_suggest(key, options))
            _check_keys(value, options[key], f"{where}.{key}")
        elif key not in everywhere:
            raise UsageError(f"{where}: no option {key!r}", hint=_suggest(key, everywhere))


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in table:
        if key not in names:
            raise UsageError(f"{where}: no option {key!r}", hint=_suggest(key, names))


def _suggest(key: str, known: Iterable[str]) -> str:
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else ""


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is no table")
    return value


def _plain(value: Any) -> Any:
    """As click wants it: text that its types parse, or several of them."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return value if isinstance(value, bool) else str(value)
