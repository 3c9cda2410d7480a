"""Every kind of request that the product has made in this test run is one that was recorded."""

import pytest
from drivers import DRIVERS
from request_kinds import UNPROVEN, is_proven, read_kinds


@pytest.mark.last
def test_every_request_of_the_product_is_proven(replayed, record_property):
    matched = {kind for driver in DRIVERS for kind in replayed(driver).matched_kinds}
    unproven = {kind for kind in read_kinds("ktnet") if not is_proven(kind, matched)}
    listed = {kind for kind in unproven if (kind.verb, kind.resource) in UNPROVEN}
    for kind in sorted(listed, key=str):
        print(f"unproven: {kind}: {UNPROVEN[kind.verb, kind.resource]}")
    wrong = sorted(map(str, unproven - listed))
    assert not wrong, "no recording shows these requests:\n" + "\n".join(wrong)
