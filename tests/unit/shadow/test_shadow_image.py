"""What the shadow's image holds is what the shadow needs, and no more."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "shadow-image"

LIST_MODULES = """
import sys
import ktnet.shadow.process
for name in sorted(sys.modules):
    if name.split(".")[0] not in sys.stdlib_module_names:
        print(name)
"""


def pinned() -> dict[str, str]:
    """Package to version, as requirements.txt has them."""
    text = (ROOT / "ktnet/shadow/requirements.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))


def test_the_shadow_imports_what_the_image_has():
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = [
        name for name in done.stdout.split() if not name.startswith(("__editable__", "__main__"))
    ]
    ours = {".".join(name.split(".")[:2]) for name in modules if name.startswith("ktnet")}
    assert ours == {"ktnet", "ktnet.errors", "ktnet.wire", "ktnet.stream", "ktnet.shadow"}
    others = {name.split(".")[0] for name in modules if not name.startswith("ktnet")}
    others -= {"_distutils_hack", "_virtualenv", "sitecustomize", "usercustomize"}
    cryptography = {"cryptography", "_cffi_backend", "_openssl"}
    assert others <= {"asyncssh", "typing_extensions"} | cryptography


def test_dependencies_are_pinned_with_hashes_and_no_index():
    text = (ROOT / "ktnet/shadow/requirements.txt").read_text()
    ssh = {"asyncssh", "cffi", "cryptography", "pycparser", "typing-extensions"}
    http = {"h2", "hpack", "httptools", "hyperframe"}
    assert set(pinned()) == ssh | http
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if block.strip())
    assert "://" not in text
    assert "--find-links" not in text


def test_both_ends_are_tested_with_the_asyncssh_of_the_image():
    assert pinned()["asyncssh"] == version("asyncssh")


def test_the_image_runs_as_nobody_without_a_shell_in_between():
    text = (IMAGE / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["python", "-m", "ktnet.shadow"]' in text
    assert "USER 65534" in text
    assert "STOPSIGNAL SIGTERM" in text
    assert "--require-hashes" in text
    assert "ARG PYTHON_IMAGE=python:3.12-slim\nFROM ${PYTHON_IMAGE}" in text
