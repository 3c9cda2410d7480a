"""What every session answers by its control socket: what happened, what goes on, how fast it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ktnet.commands.events import Events
from ktnet.session.live import parse_live_request
from ktnet.session.options import ClusterOptions
from ktnet.wire.record import build_time

if TYPE_CHECKING:
    from ktnet.control import Handler
    from ktnet.session.running import Running
    from ktnet.session.tunnel import Tunnel


def describe_asked(command: str, cluster: ClusterOptions) -> dict[str, Any]:
    """What `ktnet status` shows of a session from the start: what it was asked for, and when."""
    return {
        "command": command,
        "namespace": cluster.namespace or "",
        "context": cluster.context or "",
        "since": build_time(datetime.now(UTC)),
    }


class Answers:
    """The handlers (see `ktnet.control.open_control`), from before the session is up."""

    def __init__(self, events: Events, session: Callable[[], Running | None]) -> None:
        self._events = events
        self._session = session

    @property
    def handlers(self) -> dict[str, Handler]:
        """By what "do" says."""
        return {"live": self._tell_live, "logs": self._tell_logs, "speed": self._measure_speed}

    @property
    def _tunnel(self) -> Tunnel | None:
        session = self._session()
        return session.tunnel if session is not None else None

    async def _tell_live(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = parse_live_request(request)
        after = request.get("after", 0)
        told = {"events": self._events.describe(after if type(after) is int else 0)}
        session = self._session()
        return told if session is None else told | await session.tell_live(wanted)

    async def _tell_logs(self, request: dict[str, Any]) -> dict[str, Any]:
        from ktnet.session.logs import answer_logs

        return await answer_logs(request, self._events.describe, self._tunnel)

    async def _measure_speed(self, request: dict[str, Any]) -> dict[str, Any]:
        from ktnet.session.speed import answer_speed

        return await answer_speed(request, self._tunnel)
