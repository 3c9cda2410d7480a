"""The configuration file: what counts more than what, and mistakes in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ktnet.commands.profiles import build_defaults, parse_profile, read_profile
from ktnet.errors import UsageError

OPTIONS = {
    "connect": {"namespace": "namespace", "idle": "idle_s", "dns-exclude": "dns_exclude"},
    "clean": {"namespace": "namespace"},
}
TEXT = """
profile = "dev"
[profiles.dev]
namespace = "demo"
[profiles.dev.connect]
idle = 120
dns-exclude = ["corp.example", "lan"]
[profiles.other]
namespace = "x"
"""


def parse(text, name=None):
    return parse_profile(text, Path("config.toml"), name, OPTIONS)


def test_by_command_and_for_all():
    assert build_defaults(parse(TEXT), OPTIONS) == {
        "connect": {"namespace": "demo", "idle_s": "120", "dns_exclude": ["corp.example", "lan"]},
        "clean": {"namespace": "demo"},
    }
    assert build_defaults(parse(TEXT, "other"), OPTIONS)["clean"] == {"namespace": "x"}
    assert parse("").name == ""
    assert build_defaults(parse("[profiles.dev]\nidle = 7"), OPTIONS) == {}


@pytest.mark.parametrize(
    ("text", "name", "words", "hint"),
    [
        ("profile = [", None, "not valid TOML", ""),
        ("profil = 'dev'", None, "no option 'profil'", "'profile'"),
        ("profile = 7", None, "name of one", ""),
        ("profiles = 7", None, "no table", ""),
        ("[profiles]\ndev = 7", None, "no table", ""),
        (TEXT, "dve", "no profile 'dve'", "'dev'"),
        ("[profiles.dev]\nnamespce = 'x'", None, "no option 'namespce'", "'namespace'"),
        ("[profiles.dev.conect]\nidle = 1", None, "no command 'conect'", "'connect'"),
        ("[profiles.dev.clean]\nidle = 1", None, "no option 'idle'", "known: namespace"),
    ],
)
def test_mistakes_are_named_with_what_was_meant(text, name, words, hint):
    with pytest.raises(UsageError, match=words) as error:
        parse(text, name)
    assert hint in error.value.hint


def test_no_file_is_no_profile(tmp_path: Path):
    assert read_profile(tmp_path / "none", None, OPTIONS).values == {}
    with pytest.raises(UsageError, match="does not exist"):
        read_profile(tmp_path / "none", "dev", OPTIONS)
    with pytest.raises(UsageError, match="can't read"):
        read_profile(tmp_path, None, OPTIONS)


def ktnet(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktnet", *words],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": str(tmp_path), **environment},
    )


def write_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "ktnet").mkdir()
    (tmp_path / "ktnet" / "config.toml").write_text(text)


def test_show_says_where_each_value_comes_from(tmp_path: Path):
    write_config(tmp_path, TEXT)
    done = ktnet(tmp_path, "config", "show", "-o", "json", KTNET_CONTEXT="kind")
    told = json.loads(done.stdout)
    assert told["profile"] == "dev"
    sources = {name: (each["value"], each["source"]) for name, each in told["options"].items()}
    assert sources["namespace"] == ("demo", "profile")
    assert sources["idle"] == ("120", "profile")
    assert sources["dns-exclude"] == ("corp.example, lan", "profile")
    assert sources["context"] == ("kind", "environment")
    assert sources["via"] == ("port-forward", "default")
    other = ktnet(tmp_path, "--profile", "other", "config", "show")
    assert "namespace" in other.stdout
    assert "x  (profile)" in other.stdout


def test_environment_counts_more_than_the_profile(tmp_path: Path):
    write_config(tmp_path, TEXT)
    done = ktnet(tmp_path, "config", "show", "-o", "json", KTNET_NAMESPACE="env")
    told = json.loads(done.stdout)["options"]["namespace"]
    assert (told["value"], told["source"]) == ("env", "environment")


def test_a_value_of_the_wrong_kind_is_the_options_error(tmp_path: Path):
    write_config(tmp_path, "profile = 'a'\n[profiles.a.connect]\nidle = 'soon'")
    done = ktnet(tmp_path, "connect")
    assert done.returncode == 2
    assert "idle" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_the_file_is_one_line_and_a_hint(tmp_path: Path):
    write_config(tmp_path, "[profiles.a]\nnamespce = 'x'")
    done = ktnet(tmp_path, "status", "--local")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1] == "  hint: did you mean 'namespace'?"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(tmp_path: Path, shell: str):
    done = ktnet(tmp_path, "completion", shell)
    assert done.returncode == 0
    assert "_KTNET_COMPLETE" in done.stdout


def test_commands_are_completed(tmp_path: Path):
    done = ktnet(tmp_path, _KTNET_COMPLETE="bash_complete", COMP_WORDS="ktnet rec", COMP_CWORD="1")
    assert done.stdout.split() == ["plain,recover"]
