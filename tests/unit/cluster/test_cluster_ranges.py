"""Ranges: what error texts, nodes and pods tell."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktnet.cluster.cidrs import guess_networks, parse_valid_ranges


@pytest.mark.parametrize(
    ("message", "ranges"),
    [
        (
            (
                'Service "x" is invalid: spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to '
                "allocate IP 192.0.2.1: the provided IP (192.0.2.1) is not in the valid range. "
                "The range of valid IPs is 10.96.0.0/12"
            ),
            ["10.96.0.0/12"],
        ),
        (
            (
                "failed to allocated ip:1.1.1.1 with error:provided IP is not in the valid range. "
                "The range of valid IPs is 10.43.0.0/16"
            ),
            ["10.43.0.0/16"],
        ),
        ("The range of valid IPs is 10.43.0.0/16.", ["10.43.0.0/16"]),
        ("The range of valid IPs is CIDR 172.20.0.0/16", ["172.20.0.0/16"]),
        ("The range of valid IPs is 10.0.0.0/16, fd00::/108", ["10.0.0.0/16", "fd00::/108"]),
        ("provided IP is not in the valid range", []),
        ("The range of valid IPs is unknown", []),
        ("", []),
    ],
)
def test_an_api_server_names_its_range_when_it_refuses(message, ranges):
    assert parse_valid_ranges(message) == ranges


@given(st.text(max_size=80))
def test_any_text_is_parsed(text):
    assert isinstance(parse_valid_ranges("The range of valid IPs is " + text), list)


def test_pod_addresses_outside_the_known_networks_are_guessed_around():
    known = [IPv4Network("10.244.0.0/24")]
    addresses = ["10.244.0.7", "10.99.1.2", "10.99.1.3", "10.99.0.1", "", "fd00::1", "junk"]
    assert guess_networks(addresses, known) == (IPv4Network("10.99.0.0/23"),)
    assert guess_networks(["10.244.0.9"], known) == ()
