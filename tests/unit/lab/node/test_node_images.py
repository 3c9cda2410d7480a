"""Names of images, and what is in them."""

import importlib.metadata
from pathlib import Path

import pytest

from ktnet.lab.node.images import (
    build_full_name,
    build_pull_error,
    list_distribution_paths,
    list_images,
    parse_requirement_name,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("python", "docker.io/library/python:latest"),
        ("lab/http-echo:1", "docker.io/lab/http-echo:1"),
        ("registry.invalid/none:1", "registry.invalid/none:1"),
        ("localhost/x", "localhost/x:latest"),
        ("host:5000/x/y:2", "host:5000/x/y:2"),
        ("x@sha256:00", "docker.io/library/x@sha256:00"),
    ],
)
def test_full_names(name, expected):
    assert build_full_name(name) == expected


def test_pull_error_names_what_could_not_be_had():
    # Recorded in 03-defaulting/pod-status-nopull, up to the resolver's own words.
    assert build_pull_error("registry.invalid/none:1").startswith(
        'failed to pull and unpack image "registry.invalid/none:1": failed to resolve image: '
        'failed to do request: Head "https://registry.invalid/v2/none/manifests/1": dial tcp: '
        "lookup registry.invalid"
    )


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("typing_extensions>=4.0.0", "typing-extensions"),
        ('cffi>=2.0.0; platform_python_implementation != "PyPy"', "cffi"),
        ("Zope.Interface", "zope-interface"),
    ],
)
def test_requirement_names(requirement, name):
    assert parse_requirement_name(requirement) == name


def test_dependencies_of_the_shadow_are_complete_and_nothing_else():
    names = {path.name for path in list_distribution_paths(("asyncssh", "cryptography"))}
    assert {"asyncssh", "cryptography", "cffi", "pycparser", "typing_extensions.py"} <= names
    assert {"kubernetes", "aiohttp", "pytest", "pyroute2", "dnslib", "ktnet"}.isdisjoint(names)


def test_every_source_of_every_image_exists():
    images = list_images()
    assert f"ktnet-shadow:{importlib.metadata.version('ktnet')}" in images
    for image in images.values():
        for entry in image.entries:
            if entry.kind == "bind":
                assert Path(entry.source).exists(), entry
