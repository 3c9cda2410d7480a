"""ServiceAccount tokens in volumes: where, whose, and how long they are good."""

import stat

import pytest

from ktnet.lab.node.refusal import Refusal
from ktnet.lab.node.tokens import list_token_files
from ktnet.lab.node.volumes import Volumes


def build_pod(*, users=(), whole=None, seconds=None, path="token", audience=None):
    token = {"path": path, "expirationSeconds": seconds, "audience": audience}
    source = {"serviceAccountToken": {key: each for key, each in token.items() if each}}
    return {
        "metadata": {"namespace": "demo", "name": "p"},
        "spec": {
            "volumes": [{"name": "v", "projected": {"sources": [source], "defaultMode": 0o644}}],
            "securityContext": {"runAsUser": whole} if whole else {},
            "containers": [
                {"name": "c", "securityContext": {"runAsUser": user} if user else {}}
                for user in users
            ],
        },
    }


def issue(pod, audiences, lifetime_s):
    return f"token for {audiences} of {lifetime_s}"


@pytest.mark.parametrize(
    ("seconds", "renewed_after_s"), [(None, 2880), (3607, 2885.6), (600, 480), (10**7, 86400)]
)
def test_a_token_is_renewed_long_before_its_end(tmp_path, seconds, renewed_after_s):
    volumes, pod = Volumes(tmp_path / "pod"), build_pod(users=[None], seconds=seconds)
    volumes.fill(pod, lambda *_: None)
    assert volumes.write_tokens(pod, issue) == pytest.approx(renewed_after_s)
    assert (tmp_path / "pod/v/token").read_text() == f"token for [] of {seconds or 3600}"
    assert [each.name for each in (tmp_path / "pod/v").iterdir()] == ["token"]


@pytest.mark.parametrize(
    ("users", "whole", "owner", "mode"),
    [
        ([None], None, None, 0o644),
        ([7, 7], None, 7, 0o600),
        ([None, 7], 7, 7, 0o600),
        ([7, 8], None, None, 0o644),
        ([7, None], None, None, 0o644),
    ],
)
def test_a_token_is_its_users_alone_where_there_is_one_user(users, whole, owner, mode):
    (wanted,) = list_token_files(build_pod(users=users, whole=whole))
    assert (wanted.owner, wanted.mode) == (owner, mode)


def test_a_token_stays_in_its_volume_and_has_its_mode(tmp_path):
    volumes, pod = Volumes(tmp_path / "pod"), build_pod(users=[None], audience="vault")
    volumes.fill(pod, lambda *_: None)
    volumes.write_tokens(pod, issue)
    file = tmp_path / "pod/v/token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert "['vault']" in file.read_text()
    with pytest.raises(Refusal, match="leads out"):
        volumes.write_tokens(build_pod(users=[None], path="../../x"), issue)
    assert not (tmp_path / "x").exists()


def test_a_pod_without_tokens_needs_none_renewed(tmp_path):
    volumes = Volumes(tmp_path / "pod")
    assert volumes.write_tokens({"spec": {"containers": []}}, issue) is None
