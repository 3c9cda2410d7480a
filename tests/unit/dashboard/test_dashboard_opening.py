"""Opening the page: what others of this machine could see of it."""

from __future__ import annotations

import asyncio
import re
import stat
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit
from webbrowser import BaseBrowser

import pytest

from ktnet.dashboard.opening import build_redirection, find_browser, open_page, write_privately


class Noted(BaseBrowser):
    """A browser that reads what it is given, as one would be: by URL."""

    def __init__(self) -> None:
        super().__init__("noted")
        self.url = ""
        self.text = ""
        self.mode = 0
        self.opened = threading.Event()

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        path = Path(unquote(urlsplit(url).path))
        self.url, self.text = url, path.read_text()
        self.mode = stat.S_IMODE(path.stat().st_mode)
        self.opened.set()
        return True


def test_the_code_is_in_a_file_of_ours_and_not_in_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktnet.dashboard.opening.open_registry", lambda: tmp_path / "sessions")
    browser, forgotten = Noted(), []

    async def inside() -> None:
        opening = asyncio.create_task(
            open_page(browser, 4711, "the-code", lambda: forgotten.append(True))
        )
        async with asyncio.timeout(20):
            await asyncio.to_thread(browser.opened.wait)
        assert not forgotten
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

    asyncio.run(inside())
    assert "the-code" not in browser.url
    assert browser.url.startswith("file://")
    (target,) = re.findall(r'url=([^"]*)"', browser.text)
    assert target == "http://127.0.0.1:4711/#code=the-code"
    assert browser.mode == 0o600
    assert forgotten == [True]
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_or_a_link_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    path = tmp_path / "page"
    path.symlink_to(victim)
    write_privately(path, build_redirection("http://127.0.0.1:1/"))
    assert victim.read_text() == "as it was"
    assert not path.is_symlink()


def test_without_a_display_none_is_started_in_the_terminal() -> None:
    assert find_browser({}) is None
    assert find_browser({"DISPLAY": ""}) is None
