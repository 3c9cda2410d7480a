"""Addresses found during a session: which are captured too."""

from ipaddress import IPv4Address, IPv4Network

from ktnet.host.additions import plan_additions


def test_additions_are_private_and_nobody_elses() -> None:
    several = [
        IPv4Address(text)
        for text in ("10.9.0.1", "10.9.0.1", "10.96.0.1", "100.64.1.1", "8.8.8.8", "172.31.0.9")
    ]
    captured = [IPv4Network("10.96.0.0/16")]
    added = plan_additions(several, captured, [IPv4Address("172.31.0.9")])
    assert [str(each) for each in added] == ["10.9.0.1/32", "100.64.1.1/32"]
    assert plan_additions(several, [*captured, *added], [IPv4Network("172.16.0.0/12")]) == ()
    assert plan_additions([IPv4Address("127.0.0.1"), IPv4Address("224.0.0.1")], [], []) == ()
