"""What counts as the same history of an object, and what doesn't."""

import copy

from comparing import Bindings
from histories import FUSED_S, compare_watches

UIDS = {
    "pod": "11111111-0000-0000-0000-000000000000",
    "job": "22222222-0000-0000-0000-000000000000",
}


def build(kind="Pod", name="pod", version=1, **fields):
    meta = {"name": name, "uid": UIDS[name], "resourceVersion": str(version), "generation": 1}
    meta |= fields.pop("metadata", {})
    return {"kind": kind, "metadata": meta, "status": {}, **fields}


def tell(*objects, kinds="AMMMMD", apart_s=1.0):
    """Events of these objects, in this order."""
    names = {"A": "ADDED", "M": "MODIFIED", "D": "DELETED"}
    return [
        {"type": names[kind], "object": obj, "t": number * apart_s}
        for number, (kind, obj) in enumerate(zip(kinds, objects, strict=False))
    ]


def differ(recorded, found):
    differences = compare_watches({"w": recorded}, {"w": found}, Bindings())
    return [line for lines in differences.values() for line in lines]


def phases(*names, **fields):
    return [
        build(version=number + 1, status={"phase": name}, **fields)
        for number, name in enumerate(names)
    ]


def test_the_same_steps_are_the_same():
    steps = phases("Pending", "Running", "Failed")
    assert differ(tell(*steps), tell(*steps, apart_s=0.01)) == []


def test_a_step_more_a_step_less_and_another_order_are_told():
    steps = phases("Pending", "Running", "Failed")
    pending, running, failed = steps
    assert differ(tell(*steps), tell(pending, failed))
    assert differ(tell(pending, failed), tell(*steps))
    assert differ(tell(*steps), tell(pending, failed, running))
    assert differ(tell(*steps), [])


def test_another_value_is_told():
    recorded = phases("Pending", "Running")
    assert differ(tell(*recorded), tell(*phases("Pending", "Succeeded")))


def test_steps_at_once_may_be_one_but_not_the_last():
    steps = phases("Pending", "Running", "Failed")
    close = tell(*steps, apart_s=FUSED_S / 2)
    assert differ(close, tell(steps[0], steps[2])) == []
    assert differ(close, tell(steps[0], steps[1]))


def test_who_writes_first_to_a_pod_is_free_but_not_what_is_written():
    first = build(status={"phase": "Pending"})
    owned = build(status={"phase": "Pending"}, metadata={"labels": {"a": "b"}})
    running = build(status={"phase": "Running"})
    both = build(status={"phase": "Running"}, metadata={"labels": {"a": "b"}})
    recorded = tell(first, owned, both)
    assert differ(recorded, tell(first, running, both)) == []
    assert differ(recorded, tell(first, both, owned))


def test_an_owner_that_waits_ends_last():
    owner = {"name": "job", "uid": UIDS["job"], "blockOwnerDeletion": True}

    def family(*ends):
        pod = build(metadata={"ownerReferences": [owner]}, version=1)
        job = build("Job", "job", version=2)
        gone = {"pod": copy.deepcopy(pod), "job": copy.deepcopy(job)}
        events = tell(pod, kinds="A") + tell(job, kinds="A")
        for number, name in enumerate(ends):
            gone[name]["metadata"]["resourceVersion"] = str(10 + number)
            events += tell(gone[name], kinds="D")
        return events

    assert differ(family("pod", "job"), family("pod", "job")) == []
    assert differ(family("pod", "job"), family("job", "pod"))


def test_names_that_controllers_make_up_stand_for_each_other():
    def make(suffix, uid):
        meta = {"name": f"web-{suffix}", "generateName": "web-", "uid": uid, "resourceVersion": "1"}
        return {"kind": "Pod", "metadata": meta, "status": {}}

    recorded, found = (make(s, u) for s, u in (("5dn9k", UIDS["pod"]), ("7wbbk", UIDS["job"])))
    assert differ(tell(recorded), tell(found)) == []
    found["metadata"]["generateName"] = "other-"
    assert differ(tell(recorded), tell(found))
