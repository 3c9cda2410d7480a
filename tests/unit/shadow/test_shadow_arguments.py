from __future__ import annotations

import pytest

from ktnet.link.keys import new_client_key
from ktnet.shadow.arguments import parse_arguments

_, KEY = new_client_key()


def test_defaults_are_what_the_manifest_leaves_out():
    arguments = parse_arguments(["--authorized-key", KEY])
    assert (arguments.bind, arguments.port, arguments.idle_s) == ("127.0.0.1", 7022, 60.0)
    assert arguments.authorized_key.export_public_key("openssh").decode().startswith(KEY)


def test_all_of_them():
    arguments = parse_arguments(
        ["--authorized-key", KEY, "--bind", "10.244.0.9", "--port", "8022", "--idle", "2.5"]
    )
    assert (arguments.bind, arguments.port, arguments.idle_s) == ("10.244.0.9", 8022, 2.5)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["--authorized-key", ""],
        ["--authorized-key", "ssh-ed25519 AAAA"],
        ["--authorized-key", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQDx"],
        ["--authorized-key", KEY, "--bind", "localhost"],
        ["--authorized-key", KEY, "--bind", "0.0.0.0"],
        ["--authorized-key", KEY, "--bind", "::"],
        ["--authorized-key", KEY, "--port", "65536"],
        ["--authorized-key", KEY, "--port", "-1"],
        ["--authorized-key", KEY, "--idle", "0"],
        ["--authorized-key", KEY, "--idle", "nan"],
        ["--authorized-key", KEY, "--idle", "inf"],
        ["--authorized-key", KEY, "--idle", "soon"],
        ["--authorized-key", KEY, "extra"],
    ],
)
def test_mistakes_are_refused_with_usage(wrong, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(wrong)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
