"""Which tests run: those with full counts only where they were asked for (`make soak`)."""

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "KTNET_SOAK" in os.environ:
        return
    full = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=full)
    items[:] = [item for item in items if item not in full]
