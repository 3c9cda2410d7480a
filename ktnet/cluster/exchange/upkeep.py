"""What others do to an object that is exchanged: noticed by a watch, and undone where it can be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.cluster.server.informer import run_informer
from ktnet.errors import Conflict, Forbidden, KtnetError, NotFound
from ktnet.tasks import open_tasks
from ktnet.wire.record import ANNOTATION, build_repointing, parse_record

log = logging.getLogger(__name__)

Json = dict[str, Any]


async def run_upkeep(
    api: Api,
    namespace: str,
    subject: Subject,
    session: str,
    selector: dict[str, str] | None,
    tell: Callable[[str], None],
) -> None:
    """Until somebody ends the exchange: raises Conflict then, NotFound where the object is gone.

    A Service's selector that is reset, as by a redeploy, is pointed at the shadow (`selector`)
    again; pods of a workload that is scaled up again are told of: they share its traffic.
    """
    upkeep = _Upkeep(subject, session, selector, tell)
    async with open_tasks() as tasks:
        tasks.create_task(_follow(api, namespace, subject, upkeep, tell))
        while True:
            annotation = await upkeep.next_reset()
            assert selector is not None  # noqa: S101  (nothing else is reset)
            await _repoint(api, namespace, subject, annotation, selector)


async def check_held(api: Api, namespace: str, subject: Subject, session: str) -> None:
    """Raises Conflict where it isn't this session's any more, NotFound where it is gone."""
    obj = await api.get(subject.plural, subject.name, namespace=namespace)
    _read_own(obj, subject.title, session)


def _read_own(obj: Json, title: str, session: str) -> str:
    """The annotation's text. Raises Conflict where it isn't this session's."""
    try:
        stored = parse_record(obj)
    except ValueError as error:
        raise Conflict(f"{title}: {error}") from error
    if stored is None or stored[1].session != session:
        raise Conflict(
            f"somebody else, or the shadow while this machine was away, has put {title} back",
            hint=f"the annotation {ANNOTATION} was there, and is another or gone",
        )
    return stored[0]


async def _follow(
    api: Api, namespace: str, subject: Subject, upkeep: _Upkeep, tell: Callable[[str], None]
) -> None:
    fields = {"metadata.name": subject.name}
    try:
        await run_informer(api, subject.plural, "", upkeep, namespace=namespace, fields=fields)
    except Forbidden:
        tell(f"no right to watch {subject.plural}: what others do to {subject.title} is not seen")


async def _repoint(
    api: Api, namespace: str, subject: Subject, annotation: str, selector: dict[str, str]
) -> None:
    try:
        await api.patch(
            subject.plural,
            subject.name,
            build_repointing(annotation, selector),
            kind="json",
            namespace=namespace,
        )
    except (Refused, NotFound) as error:
        log.info("%s was not pointed at the shadow again: %s", subject.title, error)
    except KtnetError as error:
        log.warning("%s was not pointed at the shadow again: %s", subject.title, error)


class Kept:
    """One object as others may change it (a `ktnet.cluster.server.informer.Mirror`)."""

    def __init__(self, title: str) -> None:
        self.title = title

    def check(self, obj: Json) -> None:
        """Look at what it is now."""
        raise NotImplementedError

    def replace(self, objects: list[Json]) -> None:
        """What there is. Raises NotFound, and what `check` raises."""
        if not objects:
            self.change("DELETED", {})
        for obj in objects:
            self.change("MODIFIED", obj)

    def change(self, kind: str, obj: Json) -> None:
        """It has been changed. Raises likewise."""
        if kind == "DELETED":
            raise NotFound(f"{self.title} was deleted by somebody else")
        self.check(obj)


class _Upkeep(Kept):
    def __init__(
        self,
        subject: Subject,
        session: str,
        selector: dict[str, str] | None,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(subject.title)
        self._session = session
        self._selector = selector
        self._tell = tell
        self._replicas = 0
        self._reset: asyncio.Queue[str] = asyncio.Queue()

    async def next_reset(self) -> str:
        """The annotation of a Service whose selector is no longer the shadow's."""
        return await self._reset.get()

    def check(self, obj: Json) -> None:
        """Raises Conflict where it isn't this session's any more."""
        title = self.title
        text = _read_own(obj, title, self._session)
        if self._selector is not None:
            if obj["spec"].get("selector") != self._selector:
                self._tell(f"somebody else has reset the selector of {title}; set again")
                self._reset.put_nowait(text)
            return
        replicas = int(obj["spec"].get("replicas", 1))
        if replicas and replicas != self._replicas:
            self._tell(f"somebody else has scaled {title} to {replicas}: its pods get requests too")
        self._replicas = replicas
