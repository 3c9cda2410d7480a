"""`ktnet logs`: both sides, followed; and no secret in it, nor in any file of a session's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from forked_command import ask_command

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

PASSWORD = "canary-password-3f9c"
CONTEXTS = ("by-token", "by-key")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"logs-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def kubeconfig(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a token, a client's key and a password, of which the first two are used."""
    by_token, by_key = (
        yaml.safe_load(
            lab.user(name, groups=["system:masters"], certificate=name == "by-key").read_text()
        )
        for name in CONTEXTS
    )
    users = [*by_token["users"], *by_key["users"]]
    users.append({"name": "old", "user": {"username": "ada", "password": PASSWORD}})
    cluster = by_token["clusters"][0]
    contexts = [
        {"name": name, "context": {"cluster": cluster["name"], "user": users[number]["name"]}}
        for number, name in enumerate(CONTEXTS)
    ]
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    document = {"users": users, "clusters": [cluster], "contexts": contexts}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **document}))
    return path


def list_secrets(kubeconfig: Path) -> list[str]:
    """The token, the password, and the key in pieces, as it stands there and as PEM."""
    users = yaml.safe_load(kubeconfig.read_text())["users"]
    encoded = users[1]["user"]["client-key-data"]
    pem = base64.b64decode(encoded).decode().splitlines()
    pieces = [encoded[start : start + 40] for start in range(0, len(encoded) - 40, 40)]
    return [users[0]["user"]["token"], PASSWORD, *pieces, *(line for line in pem if line[0] != "-")]


def test_both_sides_are_told_and_no_secret_is(lab: Lab, kubeconfig: Path) -> None:
    secrets = list_secrets(kubeconfig)
    assert len(secrets) > 4
    told = []
    for context in CONTEXTS:
        told.append(
            lab.run(
                *(*KTNET, "forward", "svc/tomcat", ":80", "-n", "demo", "--verbose", "--detach"),
                *("--kubeconfig", str(kubeconfig), "--context", context),
            )
        )
        try:
            lines = ask_command(lab, "logs", "-o", "json").splitlines()
            sides = {(line["side"], line["text"]) for line in map(json.loads, lines)}
            assert any(side == "local" and "host key pinned" in text for side, text in sides)
            assert any(side == "shadow" and "client attached" in text for side, text in sides)
            told += [*lines, ask_command(lab, "status", "--local", "-o", "json")]
        finally:
            told.append(ask_command(lab, "disconnect"))
    # Nobody runs any more: the file that both have written to.
    told.append(ask_command(lab, "logs"))
    assert "undone" in told[-1]
    told.append(lab.run("find", "/run/ktnet", "-type", "f", "-print", "-exec", "cat", "{}", "+"))
    assert "detached.log" in told[-1]
    for text in told:
        for secret in secrets:
            assert secret not in text


def test_a_session_is_followed_to_its_end(lab: Lab) -> None:
    lab.run(*KTNET, "forward", "svc/tomcat", ":80", "-n", "demo", "--detach")
    with subprocess.Popen(
        lab.exec(*KTNET, "logs", "-f"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as following:
        try:
            assert following.stdout is not None
            seen = ""
            while "client attached" not in seen:
                line = following.stdout.readline()
                assert line, seen
                seen += line
            ask_command(lab, "disconnect")
            _, err = following.communicate(timeout=60)
        finally:
            following.kill()
    assert following.returncode == 0
    assert "the session has ended" in err
