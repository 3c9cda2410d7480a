"""Every kind of request that the product has made in this test run, at this machine or in a pod, is
one that was recorded."""

import pytest
from drivers import DRIVERS
from request_kinds import UNPROVEN, Kind, is_proven, read_kinds, read_matched

pytestmark = pytest.mark.last


@pytest.fixture
def matched(replayed):
    found = set()
    for driver in DRIVERS:
        known = read_matched(driver)
        found |= replayed(driver).matched_kinds if known is None else known
    return found


def test_what_is_listed_as_unproven_is_so(matched):
    """Where a recording shows it after all, the list must shrink."""
    listed = [Kind(each.verb, each.resource, each.content_type, each.query) for each in UNPROVEN]
    assert [str(kind) for kind in listed if is_proven(kind, matched)] == []


def test_every_request_of_the_product_is_proven(matched):
    made = read_kinds("ktnet") | read_kinds("ktnet-shadow")
    unproven = {kind for kind in made if not is_proven(kind, matched)}
    for kind in sorted(unproven, key=str):
        sources = [each.source for each in UNPROVEN if each.covers(kind)]
        print(f"unproven: {kind}: {' '.join(sources) or 'NOT LISTED'}")
    wrong = sorted(str(k) for k in unproven if not any(each.covers(k) for each in UNPROVEN))
    assert not wrong, "no recording shows these requests:\n" + "\n".join(wrong)
