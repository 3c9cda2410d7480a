"""Whose sessions there are, from Leases and records."""

from datetime import UTC, datetime, timedelta

from ktnet.cluster.cleaning import Taken
from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.sessions import build_views
from ktnet.cluster.shadow.manifests import build_labels, build_micro_time
from ktnet.wire.record import Record

NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


def lease(name, holder, silent_s, **spec):
    renewed = build_micro_time(NOW - timedelta(seconds=silent_s))
    return {
        "metadata": {"name": name, "namespace": "demo", "labels": build_labels(name)},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 60,
            "acquireTime": "2026-11-24T15:00:00.000000Z",
            "renewTime": renewed,
            **spec,
        },
    }


def taken(session, name):
    subject = Subject("deployments", {"metadata": {"name": name, "namespace": "demo"}})
    return Taken(subject, "{}", Record(session, "bob@desk", "2026-11-24T14:00:00Z", "scale"))


def test_alive_dead_and_gone():
    views = build_views(
        [lease("b", "ada@laptop", 5), lease("a", "bob@desk", 100)],
        [taken("b", "tomcat"), taken("gone", "web")],
        NOW,
    )
    told = [(each.name, each.holder, each.alive, each.silent_s, each.holds) for each in views]
    assert told == [
        ("a", "bob@desk", False, 100.0, ()),
        ("b", "ada@laptop", True, 5.0, ("deployment/tomcat",)),
        ("gone", "bob@desk", False, 0.0, ("deployment/web",)),
    ]
    assert views[1].since == "2026-11-24T15:00:00"
    assert views[1].command == "connect"


def test_leases_of_any_shape():
    for spec in ({}, {"holderIdentity": None}, {"acquireTime": 7, "renewTime": {}}):
        (view,) = build_views([{"metadata": {"name": "x"}, "spec": spec}], [], NOW)
        assert view.alive
