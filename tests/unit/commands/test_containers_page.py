"""What docs/containers.md shows is well-formed, and ktnet takes each command line in it."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from ktnet.commands.connect import connect
from ktnet.commands.exec import exec as exec_command

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "containers.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = {"connect": connect, "exec": exec_command}


def parse(kind, text):
    return {"yaml": yaml.safe_load, "json": json.loads, "sh": shlex.split}[kind](text)


def list_words(value):
    """Every list of words that begins with a command of ktnet."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        words = [each for each in value if isinstance(each, str)]
        if len(words) == len(value) and words and words[0] in COMMANDS:
            yield words
        for each in value:
            yield from list_words(each)
    elif isinstance(value, str):
        for line in value.splitlines():
            if match := re.search(r"\bktnet (connect|exec)\b.*", line):
                yield shlex.split(match[0])[1:]


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_each_example_is_well_formed(kind, text):
    assert parse(kind, text)


def test_ktnet_takes_every_command_line_of_them(tmp_path):
    found = [list(list_words(parse(kind, text))) for kind, text in BLOCKS if kind != "sh"]
    lines = [words for each in found for words in each]
    shell = " ".join(text for kind, text in BLOCKS if kind == "sh").replace("\\\n", " ")
    lines += list(list_words(shell))
    assert len(lines) == 5
    for name, *options in lines:
        context = COMMANDS[name].make_context(name, list(options))
        assert context.params["namespace"] == "NAMESPACE"
