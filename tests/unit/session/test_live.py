"""What a session may be asked for by who looks on."""

from __future__ import annotations

from typing import Any

import pytest

from ktnet.errors import UsageError
from ktnet.session.live import MOST_FLOWS, MOST_QUERIES, LiveRequest, parse_live_request


def test_within_bounds() -> None:
    most = {"do": "live", "flows": MOST_FLOWS, "queries": MOST_QUERIES}
    assert parse_live_request(most) == LiveRequest(MOST_FLOWS, MOST_QUERIES)
    assert parse_live_request({}) == LiveRequest(0, 0)


@pytest.mark.parametrize("value", [-1, MOST_FLOWS + 1, 1.5, "1", None, True, [], 10**30])
@pytest.mark.parametrize("key", ["flows", "queries"])
def test_nothing_else(key: str, value: Any) -> None:
    with pytest.raises(UsageError):
        parse_live_request({key: value})
