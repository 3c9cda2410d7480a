"""04-watch: events in order, bookmarks, 410, timeouts, streaming lists.

The deployment-lifecycle, selector-change and namespace-deleted files need controllers and are left
to whoever runs those; bookmarks-130s takes as long as its name says.
"""

from __future__ import annotations

import asyncio

from comparing import compare
from replaying import ADMIN, Folder, Lab, parse_answer
from scene import add_shown, build_cluster
from verdicts import judge

FOLDER = "04-watch"
MATCHED_AT_LEAST = 20

REFUSED = (
    *("bad-fieldselector", "bad-labelselector", "list-exact-invalid", "list-continue-invalid"),
    *("resourceversion-invalid", "resourceversionmatch-in-watch", "list-resourceversion-future"),
    *("send-initial-events-no-match",),
)
"""Answered at once, by a Status."""

SHORT = (
    *("timeoutseconds-3", "timeoutseconds-3-bookmarks", "not-existing-namespace"),
    *("resourceversion-future", "send-initial-events"),
)
"""Watches of nothing."""

OF_ONE = (*("no-resourceversion", "resourceversion-0", "send-initial-events-pods"),)
"""Watches of what is there already."""

TOO_OLD = (
    *("resourceversion-too-old-pods", "resourceversion-too-old-leases"),
    "resourceversion-too-old-events",
)
TEST = "transcripts"


async def replay(folder: Folder) -> None:
    async with folder.open_lab(build_cluster(folder)) as lab:
        for name in REFUSED:
            await lab.replay(name)
        async with asyncio.TaskGroup() as tasks:
            for name in SHORT:
                tasks.create_task(replay_watch(lab, name))
        await events_of_one_object(lab)
    for name in OF_ONE:
        async with folder.open_lab(build_cluster(folder)) as lab:
            add_watched(lab, name)
            await replay_watch(lab, name)
    async with folder.open_lab(build_cluster(folder)) as lab:
        await compacted(lab)


def add_watched(lab: Lab, name: str) -> None:
    """What the watch's first events show."""
    events = [each["event"] for each in lab.folder.cases[name].document["response"]["events"]]
    for event in events:
        if event["type"] == "ADDED":
            add_shown(lab, event["object"])


async def compacted(lab: Lab) -> None:
    """etcd has forgotten: a watch says so in its first event, a list by its status."""
    pod = {"metadata": {"name": "old"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    lab.store.create("pods", lab.name(TEST), pod)
    lab.store.create("leases", lab.name(TEST), {"metadata": {"name": "old"}})
    lab.store.create("events", lab.name(TEST), {"metadata": {"name": "old"}})
    for plural, count in (("pods", 300), ("leases", 2), ("events", 2)):
        for index in range(count):
            change = {"metadata": {"annotations": {"count": str(index)}}}
            lab.store.patch(plural, lab.name(TEST), "old", change)
    lab.store.history.compact(lab.store.version)
    for name in TOO_OLD:
        await replay_watch(lab, name)


async def events_of_one_object(lab: Lab) -> None:
    """A ConfigMap in and out of a selector; the actions are those of the recording."""
    case = lab.folder.cases["events-labelselector"]
    objects = [e["event"]["object"] for e in case.document["response"]["events"]]
    first = lab.given(objects[0])
    place = ("configmaps", first["metadata"]["namespace"], first["metadata"]["name"])
    meta = {k: first["metadata"][k] for k in ("name", "labels") if k in first["metadata"]}
    changed = {k: v for k, v in lab.given(objects[1]).items() if k == "data"}
    labels = first["metadata"]["labels"]
    finalizers = next(
        o["metadata"]["finalizers"] for o in objects if o["metadata"].get("finalizers")
    )

    async def act() -> None:
        def patch(change: dict) -> None:
            lab.store.patch(*place, change)

        steps = (
            lambda: lab.store.create(place[0], place[1], {**first, "metadata": meta}),
            lambda: patch(changed),
            lambda: patch(changed),
            lambda: patch({"metadata": {"labels": dict.fromkeys(labels)}}),
            lambda: patch({"metadata": {"labels": labels}}),
            lambda: patch({"metadata": {"finalizers": finalizers}}),
            lambda: lab.store.delete(*place),
            lambda: patch({"metadata": {"finalizers": None}}),
        )
        for step in steps:
            step()
            await asyncio.sleep(0.02)

    await replay_watch(lab, "events-labelselector", meanwhile=act)


async def replay_watch(lab: Lab, name: str, *, meanwhile=None) -> None:
    """Sends a watch and compares its events, in order; it is the server that must end it."""
    case = lab.folder.cases[name]
    query = [(key, "1" if key == "timeoutSeconds" else value) for key, value in case.query]
    async with lab.session.get(
        lab.url + lab.folder.renamer.text(case.path),
        params=[(key, lab.folder.renamer.selector(value)) for key, value in query],
        headers={**case.headers, "Authorization": f"Bearer {ADMIN}"},
        ssl=lab.tls,
    ) as answer:
        if meanwhile is not None:
            await meanwhile()
        text = await answer.read()
    events = [parse_answer(line) for line in text.splitlines()]
    recorded = [each["event"] for each in case.document["response"]["events"] or []]
    renamed = lab.folder.renamer.document(recorded)
    first = [each for each in renamed if each["type"] == "ADDED"]
    if renamed[: len(first)] == first:
        # What is there already comes in the order of names: with new names, in the new order.
        first.sort(key=lambda each: each["object"]["metadata"]["name"])
        renamed[: len(first)] = first
    differences = compare(renamed, events, lab.bindings)
    verdict = judge(answer.status, text.decode(), case.status, differences)
    lab.folder.record(name, verdict)
