"""The page, opened in the user's browser without telling others of this machine how.

What a browser is started with stands in /proc for everybody: so it gets the path of a file that
only this user can read. What that leads to is no token but a code which is worth one for a minute,
and only to who comes first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path

from ktnet.control import open_registry

log = logging.getLogger(__name__)

CODE_LIFETIME_S = 60.0


def find_browser(environment: Mapping[str, str] = os.environ) -> webbrowser.BaseBrowser | None:
    """The user's; None where there is no display, so that none is started in the terminal."""
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return None
    try:
        return webbrowser.get()
    except webbrowser.Error:
        return None


async def open_page(
    browser: webbrowser.BaseBrowser, port: int, code: str, forget: Callable[[], None]
) -> None:
    """Opens it; a minute later, or when cancelled, nothing of the code is left."""
    path = open_registry().parent / f"dashboard-{os.getpid()}.html"
    try:
        write_privately(path, build_redirection(f"http://127.0.0.1:{port}/#code={code}"))
        if not await asyncio.to_thread(browser.open, path.as_uri()):
            log.warning("no browser could be started: use the link")
        await asyncio.sleep(CODE_LIFETIME_S)
    finally:
        forget()
        path.unlink(missing_ok=True)


def build_redirection(url: str) -> str:
    """A page that leads on to another. Pure; `url` has nothing in it that HTML would read."""
    return (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0; url={url}"><title>ktnet</title>'
    )


def write_privately(path: Path, text: str) -> None:
    """A new file that nobody else can read; where there is an old one, it goes."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
