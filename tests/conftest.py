"""Which tests run, in which order, and which of them by themselves.

Those with full counts run only where they were asked for (`make soak`). What measures, or looks at
what the whole machine has (`alone`), comes after all others, what is about all requests of a test
run (`last`) after that: with workers (`workers`), in one of them, when the others have ended.
"""

import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import pytest
import workers

REQUEST_KINDS = "KTNET_LAB_REQUEST_KINDS"

FORKED = (
    *("pytest.__main__", "ktnet.lab.harness", "ktnet.lab.traffic", "ktnet.cli"),
    *("ktnet.commands.lab", "ktnet.lab.daemon"),
    *("ktnet.session.connect", "ktnet.session.network", "ktnet.session.exec"),
    *("ktnet.session.exchange", "ktnet.session.run", "ktnet.session.leftovers"),
    *("ktnet.session.mesh", "ktnet.session.mesh_auto", "ktnet.session.istio"),
    *("ktnet.session.forward", "ktnet.session.podforward", "ktnet.session.logs"),
    *("ktnet.session.checks", "ktnet.session.checks.deep", "ktnet.session.checks.firewall"),
    *("ktnet.commands.connect", "ktnet.commands.forward", "ktnet.commands.exec"),
    *("ktnet.commands.exchange", "ktnet.commands.run", "ktnet.commands.mesh"),
    *("ktnet.commands.status", "ktnet.commands.disconnect", "ktnet.commands.logs"),
    *("ktnet.commands.dns", "ktnet.commands.check", "ktnet.commands.version"),
    *("ktnet.commands.foreground", "ktnet.commands.clean", "ktnet.commands.recover"),
    *("ktnet.commands.profiles", "ktnet.host.client", "ktnet.host.addresswatch", "tomllib"),
    *("ktnet.dns.proxy", "encodings.idna", "concurrent.futures.thread"),
)
"""What the process has loaded that others are forked from: those in laptops (`Lab.call`), and
commands (`forked_command`). Each would take a second for it by itself."""


def pytest_configure(config: pytest.Config) -> None:
    """Labs of this run, whoever starts them, note which kinds of requests they get."""
    if not workers.is_worker(config):
        directory = tempfile.TemporaryDirectory(prefix="ktnet-kinds-")
        os.environ[REQUEST_KINDS] = directory.name  # workers inherit it
        config.add_cleanup(directory.cleanup)
    # A script's background jobs have these ignored, and so would all programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    multiprocessing.set_forkserver_preload(list(FORKED))
    config.pluginmanager.register(workers.Workers(config, Path(os.environ[REQUEST_KINDS])))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=workers.find_turn)
    if "KTNET_SOAK" in os.environ:
        return
    full = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=full)
    items[:] = [item for item in items if item not in full]
