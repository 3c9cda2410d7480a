"""The text of a resolver's file: read as the C library does, written as ours, taken back out."""

from ipaddress import IPv4Address

from ktnet.host.plan import ResolverPlan
from ktnet.host.resolvconf import (
    MARKER,
    build_resolv_conf,
    is_ours,
    parse_resolv_conf,
    without_ours,
)

PLAN = ResolverPlan(IPv4Address("198.19.0.1"), ("demo.svc.cluster.local", "office.example"))


def test_reads_what_the_c_library_reads() -> None:
    found = parse_resolv_conf(
        "; comment\nnameserver 10.0.0.1 # trailing\nnameserver nonsense\nnameserver fe80::1%eth0\n"
        "nameserver 10.0.0.1\n  nameserver 10.0.0.3\nnameserver 10.0.0.4\n"
        "domain old.example\nsearch a.example b.example. .\noptions ndots:5 rotate\n"
        "sortlist 10.0.0.0\nunknown thing\n"
    )
    assert found.nameservers == ("10.0.0.1", "fe80::1%eth0", "10.0.0.3")
    assert found.search == ("a.example", "b.example")
    assert found.kept == ("options ndots:5 rotate", "sortlist 10.0.0.0")


def test_the_last_of_domain_and_search_wins() -> None:
    assert parse_resolv_conf("search a.example\ndomain b.example\n").search == ("b.example",)


def test_without_a_search_line_the_hosts_domain_is_searched() -> None:
    assert parse_resolv_conf("", "corp.example").search == ("corp.example",)
    assert parse_resolv_conf("search .\n", "corp.example").search == ()
    assert parse_resolv_conf("", "").search == ()


def test_ours_names_one_nameserver_and_keeps_options() -> None:
    text = build_resolv_conf(PLAN, ("options timeout:2",))
    assert text == (
        f"{MARKER}\nnameserver 198.19.0.1\nsearch demo.svc.cluster.local office.example\n"
        "options timeout:2\n"
    )
    assert is_ours(text)
    assert "search" not in build_resolv_conf(ResolverPlan(PLAN.nameserver, ()), ())


def test_what_is_ours_goes_out_of_somebody_elses_version() -> None:
    theirs = "# by dhcp\nnameserver 10.9.9.9\nsearch dhcp.example demo.svc.cluster.local\n"
    assert (
        without_ours(build_resolv_conf(PLAN, ()) + theirs, PLAN)
        == "# by dhcp\nnameserver 10.9.9.9\nsearch dhcp.example\n"
    )


def test_a_version_that_resolves_nothing_without_us_is_no_version() -> None:
    assert without_ours(build_resolv_conf(PLAN, ("options rotate",)), PLAN) is None
