"""Who may ask the dashboard. Each test is somebody who should not get through, or should."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ktnet.dashboard.guard import HEADERS, Asked, Guard, Refusal

TOKEN = "a-token-that-nobody-guesses"
GUARD = Guard(TOKEN, 4711)
PAGE = Asked(
    "GET",
    "127.0.0.1:4711",
    authorization=f"Bearer {TOKEN}",
    fetch_site="same-origin",
)
CHANGE = dataclasses.replace(PAGE, method="POST", origin="http://127.0.0.1:4711")


def refuse(asked: Asked, *, is_page: bool = False, **changes: Any) -> int | None:
    refusal = GUARD.refuse(dataclasses.replace(asked, **changes), is_page=is_page)
    return refusal.status if refusal else None


def test_the_page_itself_is_let_through() -> None:
    assert refuse(PAGE) is None
    assert refuse(CHANGE) is None
    assert refuse(PAGE, host="localhost:4711") is None
    assert refuse(CHANGE, host="LOCALHOST:4711", origin="http://localhost:4711") is None
    # curl and Prometheus say nothing of where they come from.
    assert refuse(PAGE, fetch_site=None) is None
    assert refuse(PAGE, authorization=f"bearer {TOKEN}") is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:4711",  # DNS rebinding: a name of theirs that is 127.0.0.1 by now
        "evil.example",
        "127.0.0.1.evil.example:4711",
        "localhost.evil.example:4711",
        "127.0.0.1:4712",
        "127.0.0.1",
        "127.0.0.1:4711@evil.example",
        "evil.example@127.0.0.1:4711",
        "127.0.0.1:4711, evil.example",
        "127.0.0.2:4711",
        "0.0.0.0:4711",
        "[::1]:4711",
        "127.1:4711",
        "2130706433:4711",
        "",
        None,
    ],
)
@pytest.mark.parametrize("is_page", [True, False])
def test_no_other_name_than_our_own(host: str | None, is_page: bool) -> None:
    # With every other header right, as a rebound page's would be.
    assert refuse(PAGE, is_page=is_page, host=host) == 421
    assert refuse(CHANGE, is_page=is_page, host=host, origin=f"http://{host}") == 421


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:4711",
        "http://127.0.0.1",
        "http://127.0.0.1:4712",  # another user's server on this machine
        "http://localhost:4711",  # ours, but not of this Host
        "http://127.0.0.1:4711.evil.example",
        "http://127.0.0.1:4711/",
        "null",  # a sandboxed frame, a file
        "",
    ],
)
def test_no_page_of_elsewhere(origin: str) -> None:
    assert refuse(PAGE, origin=origin) == 403
    assert refuse(CHANGE, origin=origin) == 403
    assert refuse(PAGE, origin=origin, is_page=True) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "anything"])
def test_no_fetch_that_a_browser_says_is_of_another_site(site: str) -> None:
    # "same-site" is another port of this machine.
    assert refuse(PAGE, fetch_site=site) == 403


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer \udcff\udcfe",  # how octets that are no UTF-8 arrive
        "Bearer ä",
    ],
)
def test_no_data_without_the_token(authorization: str | None) -> None:
    assert refuse(PAGE, authorization=authorization) == 401
    assert refuse(CHANGE, authorization=authorization) == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_changed_for_who_does_not_say_from_where(method: str) -> None:
    assert refuse(CHANGE, method=method, origin=None) == 403
    assert refuse(CHANGE, method=method, is_page=True) == 405


def test_the_page_is_given_without_the_token_but_not_under_another_name() -> None:
    assert refuse(PAGE, is_page=True, authorization=None, fetch_site="none") is None
    # The link in a mail: nothing is told but the page's own files.
    assert refuse(PAGE, is_page=True, authorization=None, fetch_site="cross-site") is None


def test_a_code_is_worth_the_token_once() -> None:
    guard = Guard(TOKEN, 4711, "the-code")
    asked = dataclasses.replace(CHANGE, authorization="Bearer the-code")
    # Nobody spends it who has no right to it.
    for changes in (
        {"host": "evil.example:4711"},
        {"origin": "http://evil.example"},
        {"origin": None},
        {"fetch_site": "cross-site"},
        {"authorization": "Bearer the-cod"},
        {"authorization": None},
        {"authorization": f"Bearer {TOKEN}"},
    ):
        assert isinstance(guard.redeem(dataclasses.replace(asked, **changes)), Refusal)
    # Nor is it a token.
    refusal = guard.refuse(asked, is_page=False)
    assert refusal is not None
    assert refusal.status == 401
    assert guard.redeem(asked) == TOKEN
    assert isinstance(guard.redeem(asked), Refusal)


def test_no_code_is_none_and_a_late_one_is_worth_nothing() -> None:
    asked = dataclasses.replace(CHANGE, authorization="Bearer ")
    assert isinstance(GUARD.redeem(asked), Refusal)
    guard = Guard(TOKEN, 4711, "the-code")
    guard.forget_code()
    for given in ("Bearer the-code", "Bearer "):
        late = dataclasses.replace(asked, authorization=given)
        assert isinstance(guard.redeem(late), Refusal)


def test_port_80_is_left_out_by_browsers() -> None:
    plain = dataclasses.replace(PAGE, host="127.0.0.1")
    assert Guard(TOKEN, 80).refuse(plain, is_page=False) is None


def test_no_script_comes_from_elsewhere_and_no_text_becomes_one() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
