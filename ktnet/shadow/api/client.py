"""Requests to the API server: a connection each, the token read anew, and bounds on everything."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ktnet.shadow.api.account import Account
from ktnet.shadow.api.answer import Answer, ApiUnreachable
from ktnet.wire.apipaths import Query, build_path, build_selectors, build_target
from ktnet.wire.release import VERSION

Json = dict[str, Any]

TIMEOUT_S = 10.0
"""For a whole request, the connection included."""

PAGE = 100
"""Objects that a list is asked for at once, so that even large ones stay within the bound."""

_READ_BYTES = 64 * 1024

_JSON_PATCH = "application/json-patch+json"


class ApiClient:
    """Reads and writes objects as the pod's account may.

    Every call raises ApiRefused, with the status, where the server said no, and ApiUnreachable
    where it isn't known what it did.
    """

    def __init__(self, account: Account, timeout_s: float = TIMEOUT_S) -> None:
        self._account = account
        self._timeout_s = timeout_s

    async def get(self, plural: str, namespace: str, name: str) -> Json:
        """An object."""
        return await self._ask("GET", build_path(plural, namespace, name), {})

    async def list_all(
        self, plural: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> list[Json]:
        """All of the namespace's that have these labels."""
        return [each async for each in self._list(plural, namespace, labels)]

    async def patch(
        self,
        plural: str,
        namespace: str,
        name: str,
        operations: list[Json],
        *,
        dry_run: bool = False,
    ) -> Json:
        """The object after a JSON patch (RFC 6902); one whose `test` fails is 422."""
        query: Query = {"dryRun": "All"} if dry_run else {}
        path = build_path(plural, namespace, name)
        return await self._ask("PATCH", path, query, operations, _JSON_PATCH)

    async def delete(self, plural: str, namespace: str, name: str) -> None:
        """The object, and in the background what it owns."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        await self._ask("DELETE", build_path(plural, namespace, name), {}, options)

    async def _list(
        self, plural: str, namespace: str, labels: Mapping[str, str] | None
    ) -> AsyncIterator[Json]:
        query: dict[str, str | int] = {"limit": PAGE, **build_selectors(labels, None)}
        while True:
            page = await self._ask("GET", build_path(plural, namespace), query)
            items, metadata = page.get("items"), page.get("metadata")
            if not isinstance(items, list) or not isinstance(metadata, dict):
                raise ApiUnreachable("the answer is no list")
            for item in items:
                yield item
            more = metadata.get("continue")
            if not more:
                return
            query["continue"] = str(more)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Query,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        sent = json.dumps(body).encode() if body is not None else b""
        head = self._build_head(method, build_target(path, query), sent, content_type)
        trust = self._account.build_trust()
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self._exchange(head + sent, trust)).read()
        except TimeoutError:
            raise ApiUnreachable(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, ssl.SSLError) as error:
            raise ApiUnreachable(str(error)) from error

    def _build_head(self, method: str, target: str, sent: bytes, content_type: str) -> bytes:
        host, port = self._account.host, self._account.port
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {f'[{host}]' if ':' in host else host}:{port}",
            f"Authorization: Bearer {self._account.read_token()}",
            "Accept: application/json",
            f"User-Agent: ktnet-shadow/{VERSION}",
            "Connection: close",
        ]
        if sent:
            lines += [f"Content-Type: {content_type}", f"Content-Length: {len(sent)}"]
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    async def _exchange(self, request: bytes, trust: ssl.SSLContext) -> Answer:
        reader, writer = await asyncio.open_connection(
            self._account.host, self._account.port, ssl=trust
        )
        try:
            writer.write(request)
            await writer.drain()
            answer = Answer()
            while not answer.is_whole:
                data = await reader.read(_READ_BYTES)
                if not data:
                    raise ApiUnreachable("the connection ended before the answer did")
                answer.feed(data)
            return answer
        finally:
            # Nothing more is wanted of it, and a server that doesn't close must not keep us.
            writer.transport.abort()
