"""Volumes from objects, and that no path leads out of one."""

import base64

import pytest

from ktnet.lab.node.refusal import Refusal
from ktnet.lab.node.volumes import Volumes, list_volume_files

POD = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {}, "status": {}}
OBJECTS = {
    ("configmaps", "c"): {
        "data": {"a": "A"},
        "binaryData": {"b": base64.b64encode(b"\0").decode()},
    },
    ("secrets", "s"): {"data": {"key": base64.b64encode(b"hush").decode()}},
}


def find(plural, namespace, name):
    assert namespace == "n"
    return OBJECTS.get((plural, name))


def files(**volume):
    return list(list_volume_files({"name": "v", **volume}, POD, find))


def test_config_map_and_secret():
    assert files(configMap={"name": "c"}) == [("a", b"A", 0o644), ("b", b"\0", 0o644)]
    items = [{"key": "key", "path": "in/here", "mode": 0o400}]
    assert files(secret={"secretName": "s", "items": items}) == [("in/here", b"hush", 0o400)]
    assert files(configMap={"name": "none", "optional": True}) == []


def test_projected():
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "ca"}]}},
        {"secret": {"name": "s"}},
        {
            "downwardAPI": {
                "items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    assert files(projected={"sources": sources, "defaultMode": 0o440}) == [
        ("ca", b"A", 0o440),
        ("key", b"hush", 0o440),
        ("ns", b"n", 0o440),
    ]


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}}, "config key: z"),
        ({"hostPath": {"path": "/"}}, "no volumes of kind hostPath"),
    ],
)
def test_what_cannot_be_mounted(volume, message):
    with pytest.raises(Refusal, match=message):
        files(**volume)


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x"])
def test_file_of_a_volume_stays_in_it(tmp_path, path):
    items = [{"key": "a", "path": path}]
    volume = {"name": "v", "configMap": {"name": "c", "items": items}}
    volumes = Volumes(tmp_path / "pod")
    with pytest.raises(Refusal, match="leads out"):
        volumes.fill({**POD, "spec": {"volumes": [volume]}}, find)
    assert not (tmp_path / "x").exists()


def test_sub_path_stays_in_its_volume(tmp_path):
    volumes = Volumes(tmp_path / "pod")
    pod = {**POD, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    volumes.fill(pod, find)
    # A container has put a link there.
    (tmp_path / "pod/v/link").symlink_to("/etc")

    def mount(sub_path):
        mounts = [{"name": "v", "mountPath": "/m", "subPath": sub_path}]
        return list(volumes.list_mounts(pod, {"volumeMounts": mounts}))

    (entry,) = mount("deep/er")
    assert entry.source == str(tmp_path / "pod/v/deep/er")
    assert (tmp_path / "pod/v/deep/er").is_dir()
    for path in ("link", "link/passwd", "../other"):
        with pytest.raises(Refusal, match="leads out"):
            mount(path)
    volumes.remove()
    assert list(tmp_path.iterdir()) == []
