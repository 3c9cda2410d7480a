"""When a shadow puts back what was taken, and what it does where that isn't sure."""

import asyncio
import json
from typing import Any

import pytest

from ktnet.shadow.api.answer import ApiRefused, ApiUnreachable
from ktnet.shadow.arguments import Restorable
from ktnet.shadow.lifetime import Attendance
from ktnet.shadow.log import EventLog
from ktnet.shadow.restoring import Restorer
from ktnet.wire.record import ANNOTATION, Record, build_record_text, parse_record

RECORD = Record("ours", "ada@desk", "2026-11-24T15:00:00Z", "scale", replicas=3)
RESTORABLE = Restorable("deployments", "demo", "shop", "scale", "ours")


class Cluster:
    """One Deployment, and what goes wrong with the next requests; notes who may attach when."""

    def __init__(self, record: Record | None = RECORD) -> None:
        self.obj: dict[str, Any] = {
            "metadata": {"uid": "u", "annotations": {}},
            "spec": {"replicas": 0},
        }
        if record is not None:
            self.obj["metadata"]["annotations"][ANNOTATION] = build_record_text(record)
        self.attendance = Attendance()
        self.gets: list[Exception | None] = []
        self.patches: list[tuple[Exception | None, bool]] = []
        """What is answered, and whether it is done."""
        self.asked: list[tuple[str, bool]] = []
        self.rehearsed: list[Any] = []

    async def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        assert (plural, namespace, name) == ("deployments", "demo", "shop")
        self.asked.append(("get", self.attendance.is_closed))
        error = self.gets.pop(0) if self.gets else None
        if error is not None:
            raise error
        return json.loads(json.dumps(self.obj))

    async def patch(self, plural, namespace, name, operations, *, dry_run=False) -> None:
        error, is_done = self.patches.pop(0) if self.patches else (None, True)
        if dry_run:
            self.rehearsed.append(operations)
        else:
            self.asked.append(("patch", self.attendance.is_closed))
            if is_done:
                test, change, remove = operations
                assert (test["op"], remove["op"]) == ("test", "remove")
                if test["value"] != self.obj["metadata"]["annotations"].get(ANNOTATION):
                    raise ApiRefused(422, "the test failed")
                self.obj["spec"]["replicas"] = change["value"]
                del self.obj["metadata"]["annotations"][ANNOTATION]
        if error is not None:
            raise error


def restore(cluster: Cluster, idle_s: float = 0.01, timeout_s: float = 5) -> list[str]:
    """The log, once it is over."""
    lines: list[str] = []

    async def run() -> None:
        restorer = Restorer(cluster, RESTORABLE, EventLog("", lines.append), 0.001)
        async with asyncio.timeout(timeout_s):
            await restorer.run(cluster.attendance, idle_s)

    asyncio.run(run())
    return lines


def test_it_puts_back_once_nobody_may_attach_any_more():
    cluster = Cluster()
    assert "how=put back" in restore(cluster)[-1]
    assert cluster.asked == [("get", True), ("patch", True)]
    assert cluster.obj["spec"]["replicas"] == 3
    assert parse_record(cluster.obj) is None
    assert cluster.attendance.is_closed


@pytest.mark.parametrize("record", [None, Record("theirs", "bob@desk", "", "scale", replicas=1)])
def test_what_is_not_ours_is_left_alone(record):
    cluster = Cluster(record)
    assert "not ours" in restore(cluster)[-1]
    assert cluster.asked == [("get", True)]


def test_what_is_gone_needs_nothing():
    cluster = Cluster()
    cluster.gets = [ApiRefused(404, "")]
    assert "not ours" in restore(cluster)[-1]


def test_while_nothing_was_done_the_laptop_may_come_back():
    cluster = Cluster()
    cluster.gets = [ApiUnreachable("no answer"), ApiRefused(403, "no")]
    asked = asyncio.Event()
    get = cluster.get

    async def note(*names):
        if len(cluster.gets) == 1:
            asyncio.get_running_loop().call_soon(asked.set)
        return await get(*names)

    cluster.get = note

    async def run() -> None:
        restorer = Restorer(cluster, RESTORABLE, EventLog("", lambda _: None), 0.001)
        task = asyncio.ensure_future(restorer.run(cluster.attendance, 0.01))
        await asked.wait()
        assert not cluster.attendance.is_closed
        cluster.attendance.arrive()
        await asyncio.sleep(0.05)
        assert not task.done()
        assert len(cluster.asked) == 2
        cluster.attendance.leave()
        async with asyncio.timeout(5):
            await task

    asyncio.run(run())
    assert cluster.obj["spec"]["replicas"] == 3


@pytest.mark.parametrize("is_done", [True, False])
def test_while_it_is_not_known_whether_it_was_done_nobody_may(is_done):
    cluster = Cluster()
    cluster.patches = [(ApiUnreachable("no answer"), is_done)]
    cluster.gets = [None, ApiUnreachable("no answer")]
    seen: list[bool] = []
    get = cluster.get

    async def watch(*names):
        seen.append(cluster.attendance.is_closed)
        return await get(*names)

    cluster.get = watch
    assert "restored" in restore(cluster)[-1]
    assert seen == [True, True, True]
    assert all(is_closed for _, is_closed in cluster.asked)
    assert cluster.obj["spec"]["replicas"] == 3


def test_who_was_quicker_has_done_it():
    cluster = Cluster()
    cluster.patches = [(ApiRefused(422, "the test failed"), True)]
    assert "not ours" in restore(cluster)[-1]


def test_an_annotation_of_somebody_newer_is_for_people_to_decide():
    cluster = Cluster()
    cluster.obj["metadata"]["annotations"][ANNOTATION] = '{"version": 2}'
    with pytest.raises(TimeoutError):
        restore(cluster, timeout_s=0.2)
    assert {what for what, _ in cluster.asked} == {"get"}
    assert not cluster.attendance.is_closed


def test_it_is_armed_by_a_rehearsal_that_changes_nothing():
    cluster = Cluster(None)
    cluster.patches = [(ApiRefused(403, "not yet"), False), (None, False)]
    lines: list[str] = []

    async def arm(timeout_s: float) -> bool:
        return await Restorer(cluster, RESTORABLE, EventLog("", lines.append), 0.001).arm(timeout_s)

    assert asyncio.run(arm(5))
    test, change = cluster.rehearsed[-1]
    assert test == {"op": "test", "path": "/metadata/uid", "value": "u"}
    assert change == {"op": "replace", "path": "/spec/replicas", "value": 0}
    cluster.patches = [(ApiRefused(403, "no"), False)] * 1000
    assert not asyncio.run(arm(0.05))
    assert "cannot restore reason=403: no" in lines[-1]
