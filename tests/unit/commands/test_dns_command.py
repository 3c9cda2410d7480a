"""`ktnet dns` and the options of `ktnet connect` that concern names, as users type them."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from dnslib import QTYPE, RR, SOA, A, DNSRecord

from ktnet import control
from ktnet.commands.connect import connect
from ktnet.commands.dns import dns
from ktnet.commands.sessions import describe_names
from ktnet.errors import NotFound, UsageError


def tried(name: str, rcode: int = 0, **changes: Any) -> dict[str, Any]:
    reply = DNSRecord.question(name).reply()
    reply.header.rcode = rcode
    if rcode:
        reply.add_auth(RR("cluster.local", QTYPE.SOA, ttl=30, rdata=SOA("ns", "h")))
    else:
        reply.add_answer(RR(name, QTYPE.A, ttl=30, rdata=A("10.96.0.7")))
    return {
        "name": f"{name}.",
        "qtype": 1,
        "zone": "cluster",
        "rule": "there is such a Service",
        "asked": f"{name}.svc.cluster.local.",
        "server": "",
        "cached": False,
        "time_s": 0.00123,
        "answer": bytes(reply.pack()).hex(),
        **changes,
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A session that answers with two tries; what it was asked."""
    requests: list[dict[str, Any]] = []

    def ask(session: dict[str, Any], request: dict[str, Any], *, timeout_s: float) -> Any:
        requests.append({"pid": session["pid"], **request})
        outside = tried("absent", 3, zone="outside", rule="no name of the cluster", server="::1")
        return {"tries": [outside, tried("tomcat.demo")]}

    monkeypatch.setattr(control, "list_sessions", lambda: [{"pid": 7}])
    monkeypatch.setattr(control, "ask_session", ask)
    return requests


def test_table(asked: list[dict[str, Any]]) -> None:
    result = CliRunner().invoke(dns, ["tomcat.demo"], catch_exceptions=False)
    assert asked == [{"pid": 7, "do": "dns", "name": "tomcat.demo", "type": 1}]
    assert result.output.splitlines()[5:] == [
        "tomcat.demo. A",
        "  policy  cluster: there is such a Service",
        "  asked   tomcat.demo.svc.cluster.local.  the shadow's resolver, through the tunnel",
        "  answer  NOERROR  1.2 ms",
        "          tomcat.demo.  30  A  10.96.0.7",
    ]
    assert result.output.splitlines()[2:4] == [
        "  asked   absent.svc.cluster.local.  ::1",
        "  answer  NXDOMAIN  1.2 ms",
    ]


def test_json(asked: list[dict[str, Any]]) -> None:
    result = CliRunner().invoke(dns, ["-o", "json", "x", "aaaa"], catch_exceptions=False)
    assert asked[0]["type"] == 28
    told = json.loads(result.output)
    assert (told["query"], told["zone"], told["rcode"]) == ("x", "cluster", "NOERROR")
    assert told["answer"] == [{"name": "tomcat.demo.", "ttl": 30, "type": "A", "data": "10.96.0.7"}]
    assert told["time_ms"] == 1.23
    assert [(each["rcode"], each["server"]) for each in told["tried"]] == [("NXDOMAIN", "::1")]


@pytest.mark.parametrize("arguments", [["a..b"], ["x", "NOTYPE"]])
def test_what_makes_no_sense_is_not_asked(
    asked: list[dict[str, Any]], arguments: list[str]
) -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(dns, arguments, catch_exceptions=False)
    assert asked == []


def test_which_session(monkeypatch: pytest.MonkeyPatch, asked: list[dict[str, Any]]) -> None:
    monkeypatch.setattr(control, "list_sessions", lambda: [{"pid": 7}, {"pid": 8}])
    with pytest.raises(UsageError, match="7, 8"):
        CliRunner().invoke(dns, ["x"], catch_exceptions=False)
    CliRunner().invoke(dns, ["--pid", "8", "x"], catch_exceptions=False)
    assert [each["pid"] for each in asked] == [8]
    with pytest.raises(NotFound, match="pid 9"):
        CliRunner().invoke(dns, ["--pid", "9", "x"], catch_exceptions=False)
    monkeypatch.setattr(control, "list_sessions", list)
    with pytest.raises(NotFound, match="no session"):
        CliRunner().invoke(dns, ["x"], catch_exceptions=False)


@pytest.mark.parametrize("option", ["--dns-include", "--dns-exclude", "--cluster-domain"])
@pytest.mark.parametrize("value", ["a..b", ".", "", "x" * 64])
def test_suffixes_that_are_none_are_refused_at_once(option: str, value: str) -> None:
    result = CliRunner().invoke(connect, [option, value])
    assert result.exit_code == 2
    assert option in result.output


def test_counts_in_words() -> None:
    counts = {
        "queries": 12,
        "refused": 0,
        "cluster": 8,
        "cluster_cached": 5,
        "cluster_failures": 1,
        "outside": 4,
        "outside_cached": 0,
        "outside_failures": 2,
    }
    assert describe_names(counts) == (
        "12 queries; cluster 8 (5 from memory, 1 failed), outside 4 (0 from memory, 2 failed)"
    )
