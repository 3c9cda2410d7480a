"""Who goes with whose deletion, and when."""

from typing import Any

from ktnet.lab.controllers.action import Delete, Merge
from ktnet.lab.controllers.garbage import (
    FOREGROUND,
    ORPHAN,
    Graph,
    Owner,
    judge_owner,
    plan_dependent,
    plan_owner,
)

Obj = dict[str, Any]


def build(name: str, *owners: Obj, finalizers: tuple[str, ...] = (), dying: bool = False) -> Obj:
    return {
        "metadata": {
            "name": name,
            "namespace": "demo",
            "uid": name,
            "ownerReferences": list(owners),
            "finalizers": list(finalizers),
            **({"deletionTimestamp": "2026-01-02T03:04:05Z"} if dying else {}),
        }
    }


def refer(name: str, kind: str = "Job", *, block: bool = False) -> Obj:
    return {"kind": kind, "name": name, "uid": name, "blockOwnerDeletion": block}


def test_an_object_goes_when_all_its_owners_are_gone() -> None:
    obj = build("s", refer("a"), refer("b"))
    both = [(refer("a"), Owner.ABSENT), (refer("b"), Owner.ABSENT)]
    (gone,) = plan_dependent("secrets", obj, both, has_dependents=False)
    assert isinstance(gone, Delete)
    assert (gone.uid, gone.propagation) == ("s", "Background")
    one = [(refer("a"), Owner.ABSENT), (refer("b"), Owner.SOLID)]
    (freed,) = plan_dependent("secrets", obj, one, has_dependents=False)
    assert isinstance(freed, Merge)
    assert freed.patch == {"metadata": {"ownerReferences": [refer("b")]}}
    solid = [(refer("a"), Owner.SOLID)]
    assert plan_dependent("secrets", obj, solid, has_dependents=False) == []


def test_foreground_goes_on_downwards_where_there_is_something_below() -> None:
    obj = build("svc", refer("job"))
    waiting = [(refer("job"), Owner.WAITING)]
    (below,) = plan_dependent("services", obj, waiting, has_dependents=True)
    (leaf,) = plan_dependent("services", obj, waiting, has_dependents=False)
    assert isinstance(below, Delete)
    assert below.propagation == "Foreground"
    assert isinstance(leaf, Delete)
    assert leaf.propagation == "Background"


def test_what_is_dying_or_unowned_is_left_alone() -> None:
    absent = [(refer("a"), Owner.ABSENT)]
    assert plan_dependent("pods", build("p", dying=True), absent, has_dependents=False) == []
    assert plan_dependent("pods", build("p"), [], has_dependents=False) == []


def test_an_owner_waits_for_what_blocks_it() -> None:
    owner = build("job", finalizers=(FOREGROUND,), dying=True)
    blocking = ("pods", build("p", refer("job", block=True)))
    free = ("secrets", build("s", refer("job")))
    assert plan_owner("jobs", owner, [blocking, free]) == []
    (freed,) = plan_owner("jobs", owner, [free])
    assert isinstance(freed, Merge)
    assert freed.patch == {"metadata": {"finalizers": None}}


def test_orphans_lose_the_reference_only() -> None:
    owner = build("job", finalizers=(ORPHAN, "other"), dying=True)
    secret = build("s", refer("job"), refer("b"))
    pod = build("p", refer("job"))
    merges = plan_owner("jobs", owner, [("secrets", secret), ("pods", pod)])
    assert [m.patch["metadata"] for m in merges if isinstance(m, Merge)] == [
        {"ownerReferences": [refer("b")]},
        {"ownerReferences": None},
        {"finalizers": ["other"]},
    ]


def test_other_finalizers_are_not_ours() -> None:
    assert plan_owner("jobs", build("job", finalizers=("x/y",), dying=True), []) == []
    assert plan_owner("jobs", build("job", finalizers=(FOREGROUND,)), []) == []


def test_the_uid_decides_who_the_owner_is() -> None:
    dependent = build("p", refer("a"))

    def look_up(plural: str, namespace: str | None, name: str) -> Obj | None:
        assert (plural, namespace) in {("jobs", "demo"), ("nodes", None)}
        return {
            "a": build("a"),
            "b": build("other-uid"),
            "c": build("c", finalizers=(FOREGROUND,), dying=True),
        }.get(name)

    assert judge_owner(refer("a"), dependent, look_up) is Owner.SOLID
    assert judge_owner(refer("b"), dependent, look_up) is Owner.ABSENT
    assert judge_owner(refer("c"), dependent, look_up) is Owner.WAITING
    assert judge_owner(refer("nobody"), dependent, look_up) is Owner.ABSENT
    assert judge_owner(refer("nobody", "Node"), dependent, look_up) is Owner.ABSENT
    assert judge_owner(refer("x", "Gateway"), dependent, look_up) is Owner.SOLID


def test_the_graph_forgets_what_is_gone() -> None:
    graph = Graph()
    graph.put("pods", build("p", refer("a"), refer("b")))
    assert graph.dependents("a") == ["p"]
    graph.put("pods", build("p", refer("b")))
    assert graph.dependents("a") == []
    assert graph.owners("p") == ("b",)
    assert graph.where("p") == ("pods", "demo", "p")
    graph.remove("p")
    assert graph.dependents("b") == []
    assert graph.where("p") is None
