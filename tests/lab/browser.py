"""Debian's Chromium on a laptop, driven by WebDriver from a process that is there with it.

WebDriver is HTTP to 127.0.0.1, which in a laptop is its own: so who drives has to be there as well.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from ktnet.lab.entering import enter
from ktnet.lab.harness import Lab

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
WIDTH, HEIGHT = 1280, 1500

RESOLVER = "MAP evil.example 127.0.0.1, MAP *.google.com ~NOTFOUND, MAP *.googleapis.com ~NOTFOUND"
"""A name of somebody else's that leads here, and none of the browser's own questions."""

Driver = webdriver.Chrome


class Browser:
    """One that is open; `call` runs a function of an importable module with its driver."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._pipe.send((function, arguments))
        value, error = self._pipe.recv()
        if error is not None:
            raise AssertionError(error)
        return value


@contextmanager
def open_browser(lab: Lab, laptop: int = 1) -> Iterator[Browser]:
    """On the laptop; with its own profile, which is gone afterwards."""
    pid = int((lab.directory / f"laptop-{laptop}.pid").read_text().split()[0])
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drive, args=(pid, theirs))
    process.start()
    theirs.close()
    try:
        yield Browser(ours)
    finally:
        ours.close()
        process.join()


def _drive(pid: int, pipe: Pipe) -> None:
    """In a process of its own, until the other end is closed."""
    enter(pid)
    with tempfile.TemporaryDirectory(prefix="ktnet-browser-") as profile:
        driver = _start(profile)
        try:
            while True:
                function, arguments = pipe.recv()
                try:
                    pipe.send((function(driver, *arguments), None))
                except Exception as error:
                    pipe.send((None, f"{type(error).__name__}: {error}"))
        except EOFError:
            pass
        finally:
            driver.quit()


def _start(profile: str) -> Driver:
    options = Options()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",  # it is root's, in a namespace of the test's own
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        f"--host-resolver-rules={RESOLVER}",
        f"--window-size={WIDTH},{HEIGHT}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    return driver
