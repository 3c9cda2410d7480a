"""What is asked of every session, of one that has no tunnel of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ktnet.session.live import LiveRequest
from ktnet.session.running import Running
from ktnet.stream.ledger import Ends, Ledger


async def wait_for_nothing() -> None:
    pass


def build_running() -> Running:
    ledger = Ledger()
    ledger.begin(Ends(("127.0.0.1", 5000), ("tomcat", 80)), receiver=Receiver())
    return Running(
        tunnel=None,
        connections=ledger,
        describe_own=lambda: {"forwards": ["127.0.0.1:8080 -> tomcat:80"]},
        watch=wait_for_nothing,
        describe_end=lambda: "nothing is left",
    )


class Receiver:
    """Nothing is said to it here."""

    eof_received = pause_writing = resume_writing = None


def test_its_state_is_its_own_and_the_counts_of_its_connections() -> None:
    told = build_running().describe()
    assert told["forwards"] == ["127.0.0.1:8080 -> tomcat:80"]
    assert (told["flows"]["flows_total"], told["flows"]["flows_open"]) == (1, 0)
    assert "pod" not in told


def test_it_tells_of_connections_and_of_queries_where_any_come_here() -> None:
    running, wanted = build_running(), LiveRequest(flows=10, queries=2)
    told = asyncio.run(running.tell_live(wanted))
    assert [flow["destination"] for flow in told["flows"]] == [["tomcat", 80]]
    assert told.keys() == {"flows"}
    resolving = replace(running, describe_queries=lambda most: [{"name": "tomcat"}] * most)
    assert len(asyncio.run(resolving.tell_live(wanted))["queries"]) == 2
