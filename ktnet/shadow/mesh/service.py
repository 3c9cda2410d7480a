"""The Service that leads here, as the router's own account may read it and put it back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ktnet.shadow.api.answer import ApiRefused
from ktnet.shadow.api.client import ApiClient
from ktnet.wire.meshrecord import Member, MeshRecord, build_undo, parse_record

_NOT_FOUND, _UNPROCESSABLE = 404, 422


@dataclass
class _Observed:
    renewed: str
    since_s: float


class MeshedService:
    """Every method raises ApiFailed (`ktnet.shadow.api.answer`) where the API server won't."""

    def __init__(self, api: ApiClient, namespace: str, service: str, router: str) -> None:
        self._api = api
        self._namespace = namespace
        self._service = service
        self._router = router
        self._observed: dict[str, _Observed] = {}

    async def read(self) -> tuple[str, MeshRecord] | None:
        """The annotation that names this router, as text and record; None: nobody needs it.

        ValueError where there is one that isn't understood.
        """
        try:
            service = await self._api.get("services", self._namespace, self._service)
        except ApiRefused as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        found = parse_record(service)
        return found if found is not None and found[1].router == self._router else None

    async def undo(self, text: str, record: MeshRecord) -> bool:
        """Put it back; False where somebody has done so, has left or come meanwhile."""
        try:
            await self._api.patch(
                "services", self._namespace, self._service, build_undo(text, record)
            )
        except ApiRefused as error:
            if error.status not in (_NOT_FOUND, _UNPROCESSABLE):
                raise
            return False
        return True

    async def is_alive(self, member: Member) -> bool:
        """Whether somebody renews its Lease.

        By our own clock alone: one that stays as it is for its whole duration has run out. So the
        first look says yes.
        """
        try:
            lease = await self._api.get("leases", self._namespace, member.session)
        except ApiRefused as error:
            if error.status != _NOT_FOUND:
                raise
            return False
        spec: dict[str, Any] = lease.get("spec") or {}
        renewed, now_s = str(spec.get("renewTime")), asyncio.get_running_loop().time()
        observed = self._observed.get(member.session)
        if observed is None or observed.renewed != renewed:
            observed = self._observed[member.session] = _Observed(renewed, now_s)
        duration_s = spec.get("leaseDurationSeconds")
        return not isinstance(duration_s, int) or now_s - observed.since_s < duration_s

    async def delete_router(self) -> None:
        """This pod's own Deployment, and in the background all that it owns."""
        try:
            await self._api.delete("deployments", self._namespace, self._router)
        except ApiRefused as error:
            if error.status != _NOT_FOUND:
                raise
