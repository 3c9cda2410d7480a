"""What the command line does with help, errors and bugs."""

import resource
import subprocess
import sys

import click
import pytest

from ktnet import cli
from ktnet.errors import ClusterUnreachable, Forbidden, KtnetError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktnet", *arguments], capture_output=True, text=True, check=False
    )


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for name, text in cli.COMMANDS.items():
        assert name in result.stdout
        assert text in result.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_loads_and_has_help(name: str) -> None:
    result = run(name, "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout


def test_help_is_quick() -> None:
    """The target is 150 ms. It waits for nothing, so the processor's time of the cheapest of ten
    runs is what the code costs; how long the machine had it wait is left out."""
    times_s = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times_s) < 0.150


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["connect", "--no-such-flag"],
        ["connect", "--include", "10.0.0.0/33"],
        ["connect", "--include", "10.0.0.1/8"],
        ["connect", "--via", "pigeon"],
        ["connect", "--timeout", "soon"],
        ["disconnect", "x"],
        ["connect", "--label", "novalue"],
        ["connect", "--label", "a b=c"],
        ["connect", "--label", "team=a b"],
        ["connect", "--label", "ktnet.dev/session=x"],
        ["connect", "--label", "app.kubernetes.io/name=x"],
        ["connect", "--label", "-/x=y"],
        ["connect", "--annotation", "=x"],
        ["connect", "--node-selector", "disk=" + 64 * "x"],
        ["connect", "--resources", "cpu"],
        ["connect", "--resources", "cpu=-1"],
        ["connect", "--resources", "cpu=1,cpu=2"],
        ["connect", "--resources", "gpu=1"],
    ],
)
def test_wrong_usage_is_code_2_without_a_traceback(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Forbidden("no", hint="ask"), 5),
        (BaseExceptionGroup("tasks", [Forbidden("no", hint="ask"), ClusterUnreachable("b")]), 5),
        (BaseExceptionGroup("a", [BaseExceptionGroup("b", [Forbidden("no", hint="ask")])]), 5),
    ],
)
def test_errors_are_a_line_a_hint_and_a_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cli, "ktnet", raising(error))
    monkeypatch.setattr(sys, "argv", ["ktnet"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == code
    assert capsys.readouterr().err == "ktnet: no\n  hint: ask\n"


@pytest.mark.parametrize(
    "bug",
    [ZeroDivisionError(), BaseExceptionGroup("tasks", [KtnetError("a"), ZeroDivisionError()])],
)
def test_bugs_keep_their_traceback(bug: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "ktnet", raising(bug))
    monkeypatch.setattr(sys, "argv", ["ktnet"])
    with pytest.raises(type(bug)):
        cli.main()
