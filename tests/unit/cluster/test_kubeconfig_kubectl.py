"""The same files, read by kubectl and by us."""

import asyncio
import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from api_peer import open_peer
from kubeconfigs import build, write

from ktnet.cluster.config import load_target
from ktnet.cluster.kubeconfig.files import find_files, read_files
from ktnet.cluster.server.api import open_api
from ktnet.errors import KtnetError

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")


def kubectl(*arguments):
    return subprocess.run(
        ["kubectl", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def view():
    """What kubectl makes of the environment's files: merged, and with the files that they name."""
    done = kubectl("config", "view", "--raw", "--flatten", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {
        "current": found.get("current-context", ""),
        **{
            kind: {each["name"]: each.get(kind[:-1]) or {} for each in found.get(kind) or []}
            for kind in ("clusters", "users", "contexts")
        },
    }


def read_authority(cluster):
    path = cluster.certificate_authority
    return base64.b64encode(Path(path).read_bytes()).decode() if path else ""


def test_several_files_merge_as_they_do_for_kubectl(tmp_path, monkeypatch):
    first = build({"tokenFile": "t"}, {"server": "https://one", "certificate-authority": "ca"})
    write(tmp_path / "a" / "ca", "a certificate")
    second = build({"token": "2"}, name="two", namespace="ns")
    both = build({"token": "never"}, {"server": "https://never"}, namespace="never")
    second["users"] += both["users"]
    second["contexts"] += both["contexts"]
    nameless = {**build(name="three"), "current-context": ""}
    names = [
        write(tmp_path / "none" / "config", nameless),
        write(tmp_path / "a" / "config", first),
        str(tmp_path / "missing"),
        "",
        write(tmp_path / "b" / "config", second),
    ]
    monkeypatch.setenv("KUBECONFIG", ":".join(names))
    theirs, ours = view(), read_files(find_files(None))
    assert ours.current_context == theirs["current"] == "one"
    assert set(ours.clusters) == set(theirs["clusters"]) == {"one", "two", "three"}
    for name, cluster in theirs["clusters"].items():
        assert ours.clusters[name].server == cluster["server"]
    (authority,) = [each for each in map(read_authority, ours.clusters.values()) if each]
    assert authority == theirs["clusters"]["one"]["certificate-authority-data"]
    for name, user in theirs["users"].items():
        assert ours.users[name].token == user.get("token", "")
        assert ours.users[name].token_file.endswith(user.get("tokenFile", ""))
    for name, context in theirs["contexts"].items():
        assert ours.contexts[name].namespace == context.get("namespace", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "clusters: null",
        "clusters: 7",
        "users: [{name: u, user: {token: 7}}]",
        "users: [{name: u}, {name: u}]",
        "users: [{name: u, user: {token: t, unknown: 1}}]",
        "current-context: 2024-01-01",
        "current-context: yes",
        "apiVersion: v2\nkind: Config",
        "apiVersion: v1\nkind: Pod",
        '{"current-context":\t"x"}',
        "a: [b",
        "just text",
        "users: [{name: u, user: {client-key-data: '%'}}]",
        "users: [{name: u, user: {exec: {command: x}}}]",
    ],
)
def test_the_same_files_are_refused(tmp_path, monkeypatch, text):
    path = write(tmp_path / "config", text)
    monkeypatch.setenv("KUBECONFIG", path)
    theirs = kubectl("config", "view", "--raw").returncode
    try:
        read_files(find_files(None))
        ours = 0
    except KtnetError:
        ours = 1
    assert ours == theirs


def test_the_same_headers_are_sent(tmp_path):
    user = {
        "token": "t",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"acme.com/Project": ["a", "b"]},
    }
    wanted = ("authorization", "impersonate-")

    async def main():
        async with open_peer() as peer:
            authority = tmp_path / "ca"
            authority.write_text(peer.ca_pem)
            cluster = {"server": peer.url, "certificate-authority": "ca"}
            path = write(tmp_path / "config", build(user, cluster))
            await asyncio.to_thread(kubectl, "--kubeconfig", path, "get", "--raw", "/api")
            async with open_api(load_target(path, None)) as api:
                await api.get("pods", "p", namespace="demo")
        # Names of headers have no case; Go writes them in a form of its own.
        return [
            sorted((k.lower(), v) for k, v in each.items() if k.lower().startswith(wanted))
            for each in peer.headers
        ]

    *theirs, ours = asyncio.run(main())
    assert theirs
    assert theirs == [ours] * len(theirs)
