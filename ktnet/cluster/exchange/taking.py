"""Taking a workload's or a Service's traffic, and giving it back exactly.

    read ─► nobody has it? ─► store and change, in one patch ─► (exchange) ─► undo, in one patch
              │ held: who,             │ changed meanwhile: read again          │ 422: somebody
              ▼ since when             └──────────────◄───────────────          ▼ has done it

Nothing here waits for pods.
"""

from __future__ import annotations

from typing import Any

from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.holding import describe_silence, read_holding
from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.cluster.server.contention import UNPROCESSABLE, is_first, wait_for_others
from ktnet.errors import Conflict, NotFound, UsageError
from ktnet.wire.meshrecord import ANNOTATION
from ktnet.wire.record import (
    Record,
    build_repoint,
    build_scale_down,
    build_time,
    build_undo,
    parse_record,
)

Json = dict[str, Any]

MOST_ATTEMPTS = 20
"""Each of them lost to another writer of the same object: by then that writer has won."""


async def take_by_scale(
    api: Api, namespace: str, subject: Subject, *, session: str, holder: str
) -> Record:
    """Store what the workload has and scale it to 0. Raises Conflict where somebody has it."""

    def build(obj: Json) -> tuple[Record, list[Json]]:
        replicas = int(obj["spec"].get("replicas", 1))
        record = Record(session, holder, build_time(api.now()), "scale", replicas=replicas)
        return record, build_scale_down(obj, record)

    return await _take(api, namespace, subject, build)


async def take_by_selector(
    api: Api,
    namespace: str,
    subject: Subject,
    selector: dict[str, str],
    *,
    session: str,
    holder: str,
) -> Record:
    """Store the Service's selector and put this one in its place. Raises Conflict, UsageError."""

    def build(obj: Json) -> tuple[Record, list[Json]]:
        check_selectable(obj)
        stored = tuple(sorted(obj["spec"]["selector"].items()))
        record = Record(session, holder, build_time(api.now()), "selector", selector=stored)
        return record, build_repoint(obj, record, selector)

    return await _take(api, namespace, subject, build)


def check_selectable(service: Json) -> None:
    """Raises UsageError for a Service whose traffic doesn't follow a selector."""
    name, spec = service["metadata"]["name"], service["spec"]
    if spec.get("type") == "ExternalName":
        raise UsageError(
            f"service/{name} is a name for {spec.get('externalName')}: no pod stands behind it"
        )
    if not spec.get("selector"):
        raise UsageError(
            f"service/{name} has no selector: somebody else keeps its endpoints, and would put "
            "them back"
        )


async def _take(api: Api, namespace: str, subject: Subject, build: Any) -> Record:
    obj = subject.obj
    for attempt in range(MOST_ATTEMPTS):
        await check_free(api, namespace, subject, obj)
        record, patch = build(obj)
        write = api.patch(subject.plural, subject.name, patch, kind="json", namespace=namespace)
        if await is_first(write):
            return record  # type: ignore[no-any-return]
        # Since it was read, somebody else has written it.
        await wait_for_others(attempt)
        obj = await api.get(subject.plural, subject.name, namespace=namespace)
    raise Conflict(
        f"{subject.title} is being changed by somebody else all the time; nothing was changed",
        hint="which controller is that? try again when it has settled",
    )


async def check_free(api: Api, namespace: str, subject: Subject, obj: Json) -> None:
    """Raises Conflict where somebody holds it or it is on its way out."""
    if obj["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{subject.title} is being deleted")
    if ANNOTATION in (obj["metadata"].get("annotations") or {}):
        raise Conflict(
            f"{subject.title} is meshed: a router stands in front of it",
            hint="its workload can be exchanged behind it, with --mode scale",
        )
    try:
        stored = parse_record(obj)
    except ValueError as error:
        raise Conflict(f"{subject.title}: {error}", hint="who has written it?") from error
    if stored is None:
        return
    _, record = stored
    holding = await read_holding(api, namespace, record.session)
    if holding.is_live:
        raise Conflict(
            f"{subject.title} is exchanged by {record.holder} since {record.since}",
            hint=f"ask them; `ktnet recover {subject.title} --force` takes it from them",
        )
    since = f"silent for {describe_silence(holding.silent_s)}" if holding.exists else "gone"
    raise Conflict(
        f"{subject.title} was exchanged by {record.holder} at {record.since}, who is {since}",
        hint=f"`ktnet recover {subject.title}` puts it back",
    )


async def give_back(api: Api, namespace: str, subject: Subject, record: Record) -> bool:
    """Put it back as it was; False where it is not ours any more. Raises what the server says.

    Where the object itself is gone there is nothing to put back.
    """
    try:
        obj = await api.get(subject.plural, subject.name, namespace=namespace)
    except NotFound:
        return False
    try:
        stored = parse_record(obj)
    except ValueError:
        return False
    if stored is None or stored[1].session != record.session:
        return False
    return await undo(api, namespace, subject, *stored)


async def undo(api: Api, namespace: str, subject: Subject, text: str, record: Record) -> bool:
    """One patch; False where somebody else has undone it meanwhile.

    Raises Conflict where others write the object so often that the server gives up each time.
    """
    for attempt in range(MOST_ATTEMPTS):
        try:
            await api.patch(
                subject.plural,
                subject.name,
                build_undo(text, record),
                kind="json",
                namespace=namespace,
            )
        except NotFound:
            return False
        except Refused as error:
            if error.code != UNPROCESSABLE:
                raise
            return False
        except Conflict:
            if attempt == MOST_ATTEMPTS - 1:
                raise
            await wait_for_others(attempt)
        else:
            return True
    raise AssertionError("the last attempt has raised")
