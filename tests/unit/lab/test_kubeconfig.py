"""The lab's kubeconfig."""

import base64
from pathlib import Path

import yaml

from ktnet.lab.kubeconfig import build_kubeconfig, write_private


def test_it_says_where_who_and_whom_to_trust() -> None:
    text = build_kubeconfig(lab="a", server="https://192.168.64.1:6443", ca_pem="PEM\n", token="t")
    config = yaml.safe_load(text)
    (cluster,) = config["clusters"]
    assert cluster["cluster"]["server"] == "https://192.168.64.1:6443"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"PEM\n"
    assert config["users"][0]["user"] == {"token": "t"}
    (context,) = config["contexts"]
    assert context["name"] == config["current-context"]
    assert context["context"] == {"cluster": cluster["name"], "user": config["users"][0]["name"]}


def test_a_private_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["kubeconfig"]
