"""04-watch: events in order, bookmarks, 410, timeouts, streaming lists.

What controllers write is theirs to prove; here it is the API server's part that counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from comparing import compare
from controllers import open_controllers, wait_until
from fast_clock import FastLoop, run_in_fast_loop
from live import LiveLab
from live_deployments import LIFECYCLE, SELECTOR, replay_deployments
from recordings import list_events
from replaying import ADMIN, Folder, Lab, parse_answer
from scene import add_shown, build_cluster
from verdicts import judge

from ktnet.lab.api.store import Store
from ktnet.lab.cluster import utc_now
from ktnet.lab.controllers.namespace import NamespaceController

FOLDER = "04-watch"
MATCHED_AT_LEAST = 39
LISTED: dict[str, str] = {}
LIVE = LIFECYCLE | SELECTOR
BOOKMARKS, BOOKMARK_SPEED = "bookmarks-130s", 60.0
"""Two minutes of it, on a clock that runs so fast."""


async def replay_live(lab: LiveLab) -> None:
    await replay_deployments(lab)


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

OF_ONE = (
    *("no-resourceversion", "resourceversion-0", "send-initial-events-pods"),
    *("resourceversion-too-old-1", "limit-in-watch", "watch-one-path"),
)
"""Watches of what is there already."""

REDUCED = ("table", "partialobjectmetadata", "send-initial-events-rv0")
"""Watches of the pod `fwd`, which only the last of them shows whole."""

TOO_OLD = (
    *("resourceversion-too-old-pods", "resourceversion-too-old-leases"),
    "resourceversion-too-old-events",
)
TEST = "transcripts"
Scene = Callable[[Lab], Awaitable[None]]


async def replay(folder: Folder) -> None:
    async with folder.open_lab(build_cluster(folder)) as lab:
        for name in REFUSED:
            await lab.replay(name)
        # Side by side: each waits for the end of its watch.
        async with asyncio.TaskGroup() as tasks:
            for name in SHORT:
                tasks.create_task(replay_watch(lab, name))
            for scene in (events_of_one_object, changes_of_a_service, compacted):
                tasks.create_task(in_a_lab(folder, build_cluster(folder), scene))
            tasks.create_task(in_a_lab(folder, Store(), contents_of_a_namespace))
            tasks.create_task(
                run_in_fast_loop(partial(replay_bookmarks, folder, speed=BOOKMARK_SPEED))
            )
            for name in OF_ONE:
                scene = partial(of_what_is_there, name=name, add=add_watched)
                tasks.create_task(in_a_lab(folder, build_empty(folder), scene))
            for name in REDUCED:
                scene = partial(of_what_is_there, name=name, add=add_reduced)
                tasks.create_task(in_a_lab(folder, build_cluster(folder), scene))


async def replay_bookmarks(folder: Folder, loop: FastLoop, *, speed: float) -> None:
    """A watch that nothing happens to."""
    async with folder.open_lab(build_cluster(folder)) as lab:
        # What goes before: connections, whose limits are seconds, by an ordinary clock.
        asyncio.get_running_loop().call_later(2.0, loop.run_at, speed)
        limit_s = dict(folder.cases[BOOKMARKS].query)["timeoutSeconds"]
        await replay_watch(lab, BOOKMARKS, limit_s=limit_s)
        loop.run_at(1.0)


async def in_a_lab(folder: Folder, store: Store, scene: Scene) -> None:
    async with folder.open_lab(store) as lab:
        await scene(lab)


async def of_what_is_there(lab: Lab, *, name: str, add: Callable[[Lab, str], None]) -> None:
    add(lab, name)
    await replay_watch(lab, name)


def build_empty(folder: Folder) -> Store:
    """The recording shows what else was in the namespace."""
    store, name = Store(), folder.renamer.name(TEST)
    store.create("namespaces", None, {"metadata": {"name": name}})
    store.create("serviceaccounts", name, {"metadata": {"name": "default"}})
    return store


def add_reduced(lab: Lab, name: str) -> None:
    """The pod, with what is seen of it in a watch that shows only some of it."""
    whole = list_events(lab.folder.cases[REDUCED[-1]])[0]["object"]
    shown = list_events(lab.folder.cases[name])[0]["object"]
    pod = {**whole, "status": dict(whole["status"])}
    if "rows" in shown:
        (row,) = shown["rows"]
        shown, pod["status"]["podIP"] = row["object"], row["cells"][5]
    annotations = shown["metadata"].get("annotations") or {}
    add_shown(lab, {**pod, "metadata": {**whole["metadata"], "annotations": annotations}})


def add_watched(lab: Lab, name: str) -> None:
    """What the watch's first events show."""
    for event in list_events(lab.folder.cases[name]):
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
    lab.bindings.put("resourceVersion", "300", "2")
    await lab.replay("list-exact-compacted")
    await expired_page(lab)


async def expired_page(lab: Lab) -> None:
    """What a page's token stood for is forgotten before the next page is asked for."""
    name = "list-continue-expired"
    query = dict(lab.folder.cases[name].query)
    key, _, value = lab.folder.renamer.selector(query["labelSelector"]).partition("=")
    for number in range(4):
        meta = {"name": f"{lab.name('page')}-{number}", "labels": {key: value}}
        lab.store.create("configmaps", lab.name(TEST), {"metadata": meta})
    path = lab.folder.renamer.text(lab.folder.cases[name].path)
    asked = {"limit": query["limit"], "labelSelector": f"{key}={value}"}
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with lab.session.get(lab.url + path, params=asked, headers=headers, ssl=lab.tls) as page:
        token = (await page.json())["metadata"]["continue"]
    lab.bindings.put("continue", query["continue"], token)
    later = {"metadata": {"name": "later"}}
    lab.store.create("configmaps", lab.name(TEST), later)
    lab.store.history.compact(lab.store.version)
    await lab.replay(name)


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


async def changes_of_a_service(lab: Lab) -> None:
    """Its selector and ports, as clients change them, and its end."""
    name = "selector-change-services"
    first, *changes, _ = [each["object"] for each in list_events(lab.folder.cases[name])]
    add_shown(lab, first)
    place = ("services", lab.name(TEST), lab.name("sel"))

    async def act() -> None:
        for change in changes:
            spec = lab.given(change["spec"])
            wanted = {key: spec.get(key) for key in ("selector", "ports")}
            patch = [{"op": "add", "path": f"/spec/{key}", "value": wanted[key]} for key in wanted]
            lab.store.patch(*place, patch, kind="json")
            await asyncio.sleep(0.02)
        lab.store.delete(*place)

    await replay_watch(lab, name, meanwhile=act)


async def contents_of_a_namespace(lab: Lab) -> None:
    """They go with it, by the lab's own controller, and the watch goes on."""
    name = "namespace-deleted-configmaps"
    namespace = lab.name("transcripts-tmp")
    lab.store.create("namespaces", None, {"metadata": {"name": namespace}})
    add_watched(lab, name)

    began = asyncio.Event()

    async def begin() -> None:
        began.set()

    async def act() -> None:
        await began.wait()
        lab.store.delete("namespaces", None, namespace)
        async with open_controllers(lab, NamespaceController(lab.store, "-", utc_now)):
            await wait_until(lambda: not lab.store.has("namespaces", None, namespace))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(replay_watch(lab, "namespace-deleted-namespace", meanwhile=begin))
        tasks.create_task(replay_watch(lab, name, meanwhile=act))


async def replay_watch(lab: Lab, name: str, *, meanwhile=None, limit_s: str = "") -> None:
    """Sends a watch and compares its events, in order; it is the server that must end it."""
    case = lab.folder.cases[name]
    others = [(key, value) for key, value in case.query if key != "timeoutSeconds"]
    # Where something has to happen in between, it may take its time on a busy machine.
    query = [*others, ("timeoutSeconds", limit_s or ("1" if meanwhile is None else "6"))]
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
    recorded = list_events(case)
    if [e["type"] for e in recorded[-2:]] == ["BOOKMARK", "BOOKMARK"] and not limit_s:
        # The server tells of the cluster's other writes when it sees fit.
        recorded = recorded[:-1]
    renamed = lab.folder.renamer.document(recorded)
    first = [each for each in renamed if each["type"] == "ADDED"]
    sorted_by_name = dict(query).get("resourceVersion", "0") == "0"
    if len(first) > 1 and sorted_by_name and renamed[: len(first)] == first:
        # What is there already comes in the order of names: with new names, in the new order.
        first.sort(key=lambda each: each["object"]["metadata"]["name"])
        renamed[: len(first)] = first
    differences = compare(renamed, events, lab.bindings)
    verdict = judge(answer.status, text.decode(), case.status, differences)
    lab.folder.record(name, verdict)
