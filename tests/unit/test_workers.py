"""With workers, what measures has the run for itself, and what looks back on it ends it."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SETTINGS = """
[tool.pytest.ini_options]
markers = ["alone: measures", "last: looks back", "soak: much"]
"""
SUMMARY = """

def pytest_sessionfinish(session):
    workers.add_summary(session.config, "what was seen", ["all of it"])
"""
FILE = """
import os, time
from pathlib import Path
import pytest

NOTES = Path(__file__).with_name("notes")

@pytest.fixture(autouse=True)
def noted(request):
    start_s = time.monotonic()
    yield
    with NOTES.open("a") as notes:
        name = f"{Path(__file__).stem}.{request.function.__name__}"
        notes.write(f"{start_s} {time.monotonic()} {os.getpid()} {name}\\n")

@pytest.mark.last
def test_looks_back(): pass

@pytest.mark.alone
def test_measures(): time.sleep(0.1)

def test_first(): time.sleep(0.1)

def test_second(): time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float, str, str]]:
    """(start, end, worker, test) of each test of three such files, by their ends."""
    tmp_path = tmp_path_factory.mktemp("files")
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text() + SUMMARY)
    for name in ("test_a", "test_b", "test_c"):
        (tmp_path / f"{name}.py").write_text(FILE)
    # A place of its own for what is temporary: making that closes all others to other users.
    temporary = f"--basetemp={tmp_path / 'temporary'}"
    options = ("-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", "--color=no", temporary)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "what was seen" in done.stdout
    assert "12 passed" in done.stdout.splitlines()[-1], done.stdout + done.stderr
    lines = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    return [(float(start), float(end), worker, name) for start, end, worker, name in lines]


def test_what_measures_is_alone_and_what_looks_back_is_last(ran) -> None:
    early = [each for each in ran if each[3].endswith(("first", "second"))]
    late = [each for each in ran if each not in early]
    assert [name.removeprefix("test_") for *_, name in late] == [
        *("a.test_measures", "b.test_measures", "c.test_measures"),
        *("a.test_looks_back", "b.test_looks_back", "c.test_looks_back"),
    ]
    assert max(end for _, end, *_ in early) <= late[0][0]
    assert all(one[1] <= other[0] for one, other in pairwise(late))


def test_a_files_tests_share_a_worker(ran) -> None:
    files = {name.partition(".")[0]: worker for *_, worker, name in ran if "first" in name}
    assert all(
        files[name.partition(".")[0]] == worker for *_, worker, name in ran if "second" in name
    )
    assert len(set(files.values())) == 2
