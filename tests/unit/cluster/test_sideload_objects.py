"""What `--sideload` brings: exactly what was pinned, whole, for the Python that it meets."""

import asyncio
import base64
import io
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from test_shadow_manifests import KEY, violations_of_restricted

from ktnet.cluster.shadow.manifests import ShadowSpec, Sideload, build_job
from ktnet.cluster.sideload.bundle import (
    CODE,
    PART_BYTES,
    PARTS,
    SITE,
    build_bundle,
    build_part,
    list_part_names,
    read_bootstrap,
)
from ktnet.cluster.sideload.lock import Pin, check_wheels, parse_lock
from ktnet.cluster.sideload.platforms import (
    Platform,
    build_default_image,
    choose_arch,
    parse_minor,
)
from ktnet.cluster.sideload.wheels import LOCK, fetch_wheels, find_cause
from ktnet.errors import ShadowFailed
from ktnet.lab.node.images import SHADOW_FILES

ROOT = Path(__file__).parents[3]
WHEEL = b"PK wheel"
PINS = [Pin("typing-extensions", "4.16.0", frozenset({sha256(WHEEL).hexdigest()}))]
FILE = "typing_extensions-4.16.0-py3-none-any.whl"
SOABI = sysconfig.get_config_var("SOABI")


def test_the_lock_that_ships_pins_each_wheel_by_hash():
    pins = parse_lock(LOCK.read_text())
    assert {"asyncssh", "cryptography", "cffi"} <= {pin.name for pin in pins}
    assert all(pin.hashes for pin in pins)


@pytest.mark.parametrize("line", ["asyncssh==2.24.1", "asyncssh>=2 --hash=sha256:" + 64 * "0", "x"])
def test_a_lock_without_pins_or_hashes_is_refused(line):
    with pytest.raises(ValueError, match="no pin"):
        parse_lock(line)


def test_the_wheels_of_the_lock_are_taken():
    check_wheels(PINS, {FILE: WHEEL})


@pytest.mark.parametrize(
    ("wheels", "words"),
    [
        ({FILE: WHEEL + b"!"}, "not the one that this ktnet was tested with"),
        ({}, "no wheel of typing-extensions 4.16.0"),
        ({FILE: WHEEL, "evil-1-py3-none-any.whl": WHEEL}, "evil-1-py3-none-any.whl is none"),
        ({FILE: WHEEL, FILE.replace("_", "."): WHEEL}, "or there twice"),
        ({"typing_extensions-4.17.0-py3-none-any.whl": WHEEL}, "4.17.0-py3-none-any.whl is none"),
        ({"nonsense": WHEEL}, "nonsense is none"),
    ],
)
def test_other_wheels_are_refused(wheels, words):
    with pytest.raises(ShadowFailed, match=re.escape(words)):
        check_wheels(PINS, wheels)


def test_a_tampered_wheel_in_a_folder_is_refused(tmp_path):
    (tmp_path / "asyncssh-2.24.1-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(ShadowFailed, match=r"can't get the shadow's wheels: .*HASHES") as raised:
        asyncio.run(fetch_wheels(Platform(sys.version_info.minor, "amd64"), str(tmp_path)))
    assert "--sideload-wheels" in raised.value.hint


def test_an_index_that_is_away_is_named_as_the_cause():
    words = (
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError('<pip."
        "_vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new "
        "connection: [Errno -2] Name or service not known')': /simple/asyncssh/\n"
        "ERROR: No matching distribution found for asyncssh==2.24.1\n"
    )
    assert find_cause(words) == "no connection to its index: Name or service not known"
    assert find_cause("WARNING: x\nERROR: no disk\n") == "no disk"
    assert find_cause("No module named pip\n") == "No module named pip"
    assert find_cause("") == "no word of why"


@pytest.mark.parametrize(
    ("image", "minor"),
    [
        ("python:3.12-slim", 12),
        ("registry.example:5000/lib/python:3.13.1-slim-bookworm", 13),
        ("python:3.11", 11),
        ("registry.example:3.12/python", sys.version_info.minor),
        ("python:slim", sys.version_info.minor),
        ("python@sha256:" + 64 * "a", sys.version_info.minor),
        (build_default_image(), sys.version_info.minor),
    ],
)
def test_the_python_of_an_image_is_read_from_its_tag(image, minor):
    assert parse_minor(image) == minor


def node(arch, **labels):
    return {"metadata": {"labels": {"kubernetes.io/arch": arch, **labels}}}


@pytest.mark.parametrize(
    ("nodes", "selector", "arch"),
    [
        ([node("arm64"), node("arm64"), node("amd64")], {}, "arm64"),
        ([node("arm64"), node("arm64"), node("amd64", disk="ssd")], {"disk": "ssd"}, "amd64"),
        ([node("s390x"), node("s390x"), node("amd64")], {}, "amd64"),
        ([node("s390x")], {}, "s390x"),
        ([], {}, "amd64"),
        ([{"metadata": None}], {}, "amd64"),
    ],
)
def test_wheels_are_for_most_of_the_nodes_that_may_run_it(nodes, selector, arch):
    assert choose_arch(nodes, selector) == arch


def test_every_list_of_what_runs_in_the_pod_says_the_same():
    assert set(CODE) == set(SHADOW_FILES)
    copied = re.findall(
        r"^COPY (ktnet/.*) /opt/ktnet/ktnet",
        (ROOT / "shadow-image/Dockerfile").read_text(),
        re.MULTILINE,
    )
    assert {f"ktnet/{name}" for name in CODE} == set(" ".join(copied).split())


def test_the_same_content_is_the_same_bundle_in_parts_that_fit():
    wheels = {FILE: os.urandom(3 * PART_BYTES)}
    bundle = build_bundle(wheels, SOABI)
    assert bundle == build_bundle(wheels, SOABI)
    assert len(bundle.parts) == 4
    names = list_part_names("ktnet-connect-abcde", bundle)
    assert names == sorted(names)
    for name, part in zip(names, bundle.parts, strict=True):
        made = build_part(name, "demo", {}, part)
        assert sum(len(base64.b64decode(each)) for each in made["binaryData"].values()) <= 1 << 20
    assert sha256(b"".join(bundle.parts)).hexdigest() == bundle.digest


def pod_with(bundle):
    spec = ShadowSpec("demo", build_default_image(), KEY, sideload=Sideload(bundle=bundle))
    return build_job("ktnet-connect-abcde", spec, is_suspended=True)["spec"]


def test_the_pod_is_as_restricted_as_the_images_and_says_what_it_is_to_find():
    bundle = build_bundle({FILE: WHEEL}, SOABI)
    job = pod_with(bundle)
    assert job["suspend"] is True
    pod = job["template"]["spec"]
    assert violations_of_restricted(pod) == []
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["args"][:4] == [bundle.digest, SOABI, "--authorized-key", KEY]
    sources = pod["volumes"][0]["projected"]["sources"]
    assert [each["configMap"]["name"] for each in sources] == ["ktnet-connect-abcde-code-00"]
    # Kubernetes puts a variable of the container in place of $(NAME).
    assert "$(" not in " ".join(container["command"])


@pytest.fixture
def run_bootstrap(tmp_path):
    """Runs the program over these parts, with the pod's two directories in `tmp_path`."""
    parts, site = tmp_path / "parts", tmp_path / "site"
    text = read_bootstrap().replace(PARTS, str(parts)).replace(SITE, str(site))
    parts.mkdir()

    def run(*contents, digest, abi=SOABI):
        for number, content in enumerate(contents):
            (parts / f"part-{number:02}").write_bytes(content)
        command = [sys.executable, "-I", "-B", "-c", text, digest, abi, "hello"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def archive(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return data.getvalue()


SHADOW = "import sys, dep; print(dep.WORD, *sys.argv[1:])"
WHOLE = archive(
    {
        "ktnet.zip": archive({"ktnet/__init__.py": "", "ktnet/shadow.py": SHADOW}),
        "dep-1-py3-none-any.whl": archive({"dep.py": "WORD = 'unpacked'"}),
    }
)
DIGEST = sha256(WHOLE).hexdigest()


def test_the_bootstrap_becomes_the_shadow(run_bootstrap):
    done = run_bootstrap(WHOLE[:100], WHOLE[100:], digest=DIGEST)
    assert (done.stdout, done.stderr) == ("unpacked hello\n", "")


@pytest.mark.parametrize(
    "parts",
    [
        (WHOLE[:100], WHOLE[100:-1]),
        (WHOLE[:100],),
        (WHOLE[100:], WHOLE[:100]),
        (bytes([WHOLE[0] ^ 1]) + WHOLE[1:],),
        (),
    ],
    ids=["cut", "a part is missing", "another order", "one bit", "nothing"],
)
def test_the_bootstrap_runs_nothing_else(run_bootstrap, tmp_path, parts):
    done = run_bootstrap(*parts, digest=DIGEST)
    assert done.returncode == 1
    assert "is not what the client sent; nothing is run" in done.stderr
    assert not (tmp_path / "site").exists()


def test_the_bootstrap_says_when_the_python_does_not_fit(run_bootstrap):
    done = run_bootstrap(WHOLE, digest=DIGEST, abi="cpython-39-x86_64-linux-musl")
    assert done.returncode == 1
    assert f"this image's Python is {SOABI}" in done.stderr
