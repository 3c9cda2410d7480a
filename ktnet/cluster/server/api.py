"""Requests to the API server: JSON in, JSON out, every failure an error of ours.

Only what ktnet needs of it; the official client's thousand model classes stay unimported.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Literal

import aiohttp

from ktnet.cluster.config import ClusterTarget
from ktnet.cluster.server.answers import build_error, parse_status, read_status
from ktnet.cluster.server.clock import ServerClock
from ktnet.cluster.server.transport import (
    SOCKS_FAILURES,
    RefusedUpgrade,
    Transport,
    open_transport,
)
from ktnet.cluster.server.upgrade import Upgraded
from ktnet.errors import ClusterUnreachable, Forbidden, NotFound
from ktnet.wire.apipaths import Query, build_path, build_selectors, build_target

Json = dict[str, Any]

_CONNECT_TIMEOUT_S = 10
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=_CONNECT_TIMEOUT_S)
"""A busy API server may need seconds (its own limit is 60); one that is away is noticed sooner."""
_WATCH_SILENCE_S = 150
"""Bookmarks come about once a minute: two of them missed, and nobody is there."""
_LINE_LIMIT = 8 << 20
"""Bytes of one watch event: etcd refuses objects of more than 1.5 MiB."""
_PAGE_SIZE = 500
"""Objects of one answer to a list: what kubectl asks for."""


@asynccontextmanager
async def open_api(target: ClusterTarget) -> AsyncIterator[Api]:
    """A client of the API server of `target`; nothing is sent before the first request."""
    async with open_transport(target.access) as transport:
        yield Api(target, transport)


class Api:
    """The API server. Every method raises the errors of `answers.build_error`, and
    ClusterUnreachable where no answer comes."""

    def __init__(self, target: ClusterTarget, transport: Transport) -> None:
        self.target = target
        self._transport = transport
        self._clock = ServerClock()
        self._renewed = asyncio.Event()

    def now(self) -> datetime:
        """The server's time, UTC (to about a second; ours before the first answer)."""
        return self._clock.read(time.time())

    async def renew_connections(self) -> None:
        """From now on use connections of their own for requests: those that there are may be dead.

        A connection on which nothing is sent, as a watch's, tells nothing of its death for minutes:
        who reads from one leaves it (`wait_renewed`).
        """
        await self._transport.renew()
        self._renewed.set()
        self._renewed = asyncio.Event()

    async def wait_renewed(self) -> None:
        """Wait for the next renewal."""
        await self._renewed.wait()

    async def read_version(self) -> str:
        """The server's, such as "v1.36.2"; anybody may ask who is known there."""
        async with self._open("GET", "/version", {}) as response:
            answer = _parse_object(await self._read(response, "get", "/version", None))
        return str(answer.get("gitVersion") or "")

    async def list_group_versions(self, group: str) -> list[str]:
        """The versions of an API group, such as "v1"; none where the server has no such group.

        https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api: anybody may ask
        who is known there.
        """
        path = f"/apis/{group}"
        try:
            async with self._open("GET", path, {}) as response:
                answer = _parse_object(await self._read(response, "get", path, None))
        except NotFound:
            return []
        return [str(each.get("version")) for each in _take_objects(answer.get("versions"))]

    async def who_am_i(self) -> str:
        """Our name there; empty where the server doesn't tell (before Kubernetes 1.28)."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            answer = await self.create("selfsubjectreviews", review)
        except (Forbidden, NotFound):
            return ""
        status = answer.get("status")
        info = status.get("userInfo") if isinstance(status, dict) else None
        return str(info.get("username") or "") if isinstance(info, dict) else ""

    async def get(self, plural: str, name: str, *, namespace: str | None = None) -> Json:
        """One object."""
        return await self._call("GET", "get", plural, namespace, name)

    async def list_all(
        self,
        plural: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        keep: Callable[[Json], Json] = lambda obj: obj,
        at_most: int | None = None,
    ) -> Json:
        """A collection: "items", and in "metadata" the resourceVersion to watch from.

        It comes in pages; `keep` says what to hold of each object (a node's is 20 KiB, and a
        cluster may have thousands). With `at_most`, only the first so many, in one page.
        """
        query: Query = {"limit": at_most or _PAGE_SIZE, **build_selectors(labels, fields)}
        page = await self._call("GET", "list", plural, namespace, query=query)
        items = [keep(obj) for obj in _take_objects(page.get("items"))]
        while at_most is None and (following := _continuation(page)):
            page = await self._call(
                "GET", "list", plural, namespace, query={**query, "continue": following}
            )
            items += [keep(obj) for obj in _take_objects(page.get("items"))]
        return page | {"items": items}

    async def create(
        self, plural: str, obj: Json, *, namespace: str | None = None, dry_run: bool = False
    ) -> Json:
        """Create an object; the answer has what the server filled in."""
        query: Query = {"dryRun": "All"} if dry_run else {}
        return await self._call("POST", "create", plural, namespace, query=query, body=obj)

    async def replace(
        self, plural: str, name: str, obj: Json, *, namespace: str | None = None
    ) -> Json:
        """Update an object as a whole; Conflict where its resourceVersion is not the newest."""
        return await self._call("PUT", "update", plural, namespace, name, body=obj)

    async def patch(
        self,
        plural: str,
        name: str,
        patch: Json | list[Json],
        *,
        kind: Literal["merge", "json"],
        namespace: str | None = None,
    ) -> Json:
        """Change an object: "merge" as RFC 7386, "json" as RFC 6902."""
        content_type = f"application/{'json-' if kind == 'json' else 'merge-'}patch+json"
        return await self._call(
            "PATCH", "patch", plural, namespace, name, body=patch, content_type=content_type
        )

    async def delete(
        self,
        plural: str,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        grace_s: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Json:
        """Delete an object, and what it owns: the server's own default for Jobs orphans that.

        With `uid`, only that very object: Conflict where another one has the name now; with
        `resource_version`, only while nobody has changed it.
        """
        options: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if any(preconditions.values()):
            options["preconditions"] = {
                key: value for key, value in preconditions.items() if value is not None
            }
        return await self._call("DELETE", "delete", plural, namespace, name, body=options)

    async def read_log(self, pod: str, container: str, *, namespace: str, tail: int) -> str:
        """The last lines of a container's log; bytes that are no UTF-8 are replaced."""
        query: Query = {"container": container, "tailLines": tail}
        path = build_path("pods", namespace, pod, "log")
        async with self._open("GET", path, query) as response:
            body = await self._read(response, "get", "pods/log", namespace)
        return body.decode(errors="replace")

    @asynccontextmanager
    async def open_watch(
        self,
        plural: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        resource_version: str = "",
        timeout_s: int = 300,
    ) -> AsyncIterator[AsyncIterator[tuple[str, Json]]]:
        """Events after `resource_version` as (ADDED, MODIFIED, DELETED or BOOKMARK; object).

        Without a version, first ADDED for all that is there. The iterator ends when the server's
        time for it is over; it raises Expired where it can't go on from that version.
        https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
        """
        query: dict[str, str | int] = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": timeout_s,
            **build_selectors(labels, fields),
        }
        if resource_version:
            query["resourceVersion"] = resource_version
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_WATCH_SILENCE_S
        )
        path = build_path(plural, namespace)
        async with self._open("GET", path, query, limits=limits) as response:
            if response.status >= 400:
                await self._read(response, "watch", plural, namespace)
            events = self._read_events(response.content, plural, namespace)
            async with aclosing(events):
                yield events

    async def dial_websocket(
        self,
        plural: str,
        name: str,
        subresource: str,
        query: Query,
        *,
        namespace: str,
        protocol: str,
    ) -> Upgraded:
        """A WebSocket to a subresource, whose frames are the caller's to write and read."""
        path = build_path(plural, namespace, name, subresource)
        url = self.target.server + build_target(path, query)
        try:
            with self._failures():
                async with asyncio.timeout(_REQUEST_TIMEOUT.total):
                    return await self._transport.dial_websocket(url, protocol)
        except RefusedUpgrade as error:
            # A WebSocket is a GET, but for exec and port-forward the right asked is `create`.
            resource = f"{plural}/{subresource}"
            status = parse_status(error.code, error.body)
            raise build_error(status, "create", resource, namespace) from None

    async def _call(
        self,
        method: str,
        verb: str,
        plural: str,
        namespace: str | None,
        name: str | None = None,
        *,
        query: Query | None = None,
        body: Json | list[Json] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        path = build_path(plural, namespace, name)
        async with self._open(
            method, path, query or {}, body=body, content_type=content_type
        ) as response:
            answer = await self._read(response, verb, plural, namespace)
        return _parse_object(answer)

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: Json | list[Json] | None = None,
        content_type: str = "application/json",
        limits: aiohttp.ClientTimeout = _REQUEST_TIMEOUT,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self.target.server + build_target(path, query)
        sent_s = time.time()
        with self._failures():
            response = await self._transport.request(
                method, url, body=body, content_type=content_type, limits=limits
            )
        self._clock.observe(response.headers.get("Date", ""), sent_s, time.time())
        try:
            yield response
        finally:
            # A body that was read to its end has given the connection back already.
            response.close()

    async def _read(
        self, response: aiohttp.ClientResponse, verb: str, resource: str, namespace: str | None
    ) -> bytes:
        with self._failures():
            body = await response.read()
        if response.status >= 400:
            raise build_error(parse_status(response.status, body), verb, resource, namespace)
        return body

    async def _read_events(
        self, stream: aiohttp.StreamReader, plural: str, namespace: str | None
    ) -> AsyncGenerator[tuple[str, Json], None]:
        pending = b""
        while True:
            with self._failures():
                chunk = await stream.readany()
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > _LINE_LIMIT:
                raise ClusterUnreachable("the API server sent a watch event without an end")
            for line in lines:
                event = _parse_object(line)
                (obj,) = _take_objects([event.get("object")])
                kind = str(event.get("type"))
                if kind == "ERROR":
                    raise build_error(read_status(obj), "watch", plural, namespace)
                yield kind, obj

    @contextmanager
    def _failures(self) -> Iterator[None]:
        server = self.target.server
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            raise ClusterUnreachable(
                f"the certificate of {server} is not trusted: {error.certificate_error}",
                hint="is certificate-authority-data of the kubeconfig this cluster's?",
            ) from error
        except TimeoutError as error:
            raise ClusterUnreachable(
                f"the API server at {server} does not answer",
                hint="is a VPN or an HTTP proxy (HTTPS_PROXY) needed to get there?",
            ) from error
        except (aiohttp.ClientError, OSError, *SOCKS_FAILURES) as error:
            raise ClusterUnreachable(
                f"can't reach the API server at {server}: {_find_cause(error)}",
                hint="does `kubectl version` reach it from here?",
            ) from error


def _find_cause(error: Exception) -> str:
    """What the system said; asyncio puts the address in place of that, and aiohttp says more."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    # A name that isn't found has a number of getaddrinfo's own, below 0.
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _parse_object(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _not_kubernetes() from error
    if not isinstance(parsed, dict):
        raise _not_kubernetes()
    return parsed


def _continuation(page: Json) -> str:
    metadata = page.get("metadata")
    return str(metadata.get("continue") or "") if isinstance(metadata, dict) else ""


def _take_objects(items: Any) -> list[Json]:
    """What must be objects of the API: with metadata, if any, that is an object too."""
    if items is None:  # How Go writes an empty list.
        return []
    if not isinstance(items, list) or not all(
        isinstance(obj, dict) and isinstance(obj.get("metadata") or {}, dict) for obj in items
    ):
        raise _not_kubernetes()
    return items


def _not_kubernetes() -> ClusterUnreachable:
    return ClusterUnreachable(
        "what answers at the API server's address is no Kubernetes API server",
        hint="is a proxy or a login page in between?",
    )
