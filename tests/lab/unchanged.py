"""Fixtures of modules whose every test must leave laptop and cluster as they were.

`from unchanged import before, nothing_is_left  # noqa: F401`, beside a module's own `lab`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from connect_client import HOST_STATE, OBJECTS, differences

from ktnet.lab.harness import Lab


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, Any]:
    """Laptop and cluster as they are to be after each test."""
    return lab.census()


@pytest.fixture(autouse=True)
def nothing_is_left(lab: Lab, before: dict[str, Any]) -> Iterator[None]:
    yield
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []
