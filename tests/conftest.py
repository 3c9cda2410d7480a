"""Which tests run, and in which order.

Those with full counts run only where they were asked for (`make soak`); what is about all requests
of a test run comes last.
"""

import os
import tempfile

import pytest

REQUEST_KINDS = "KTNET_LAB_REQUEST_KINDS"


def pytest_configure(config: pytest.Config) -> None:
    """Labs of this run, whoever starts them, note which kinds of requests they get."""
    directory = tempfile.TemporaryDirectory(prefix="ktnet-kinds-")
    os.environ[REQUEST_KINDS] = directory.name
    config.add_cleanup(directory.cleanup)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
    if "KTNET_SOAK" in os.environ:
        return
    full = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=full)
    items[:] = [item for item in items if item not in full]
