"""HTTP to the API server, as somebody: over the official client's transport.

Every request carries the credentials of that moment. One that is refused (401) is sent once more
where there are newer ones: a token has been rotated, or a login renewed, under our feet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from multidict import CIMultiDict

from ktnet.cluster.kubeconfig.access import Access
from ktnet.cluster.kubeconfig.credentials import Headers
from ktnet.cluster.kubeconfig.proxies import SOCKS
from ktnet.cluster.server.library import Configuration, RESTClientObject
from ktnet.cluster.server.upgrade import Upgraded, build_request_headers, check_answer, new_key
from ktnet.wire.release import VERSION

SOCKS_FAILURES = (ProxyConnectionError, ProxyError, ProxyTimeoutError)
"""What aiohttp doesn't know of."""

_REQUESTS_AT_ONCE = 100
_USER_AGENT = f"ktnet/{VERSION}"


class RefusedUpgrade(Exception):
    """An answer other than 101 to a WebSocket's request, whole."""

    def __init__(self, code: int, body: bytes) -> None:
        super().__init__(code)
        self.code = code
        self.body = body


@asynccontextmanager
async def open_transport(access: Access) -> AsyncIterator[Transport]:
    """A transport for `access`; connections are made as they are needed."""
    async with AsyncExitStack() as stack:
        transport = Transport(access, stack)
        stack.push_async_callback(transport.close)
        yield transport


class Transport:
    """Sends requests. What aiohttp and aiohttp_socks raise is raised as it is."""

    def __init__(self, access: Access, stack: AsyncExitStack) -> None:
        self._access = access
        self._stack = stack
        self._connections: tuple[int, Any, aiohttp.ClientSession] | None = None
        self._clients: list[tuple[Any, aiohttp.BaseConnector]] = []
        """Of the library, with their connections: those made since the last renewal."""
        self._retired: list[tuple[Any, aiohttp.BaseConnector]] = []
        """Those from before."""
        self._proxy = None if _is_socks(access.proxy) else access.proxy

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: Any,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """One request, its body JSON; the answer's body is still to be read."""
        who = await self._access.credentials.build_headers()
        response = await self._request(who, method, url, body, content_type, limits)
        if response.status == 401 and await self._access.credentials.renew(who):
            response.close()
            who = await self._access.credentials.build_headers()
            response = await self._request(who, method, url, body, content_type, limits)
        return response

    async def dial_websocket(self, url: str, subprotocol: str) -> Upgraded:
        """A connection that the server takes for a WebSocket. Raises RefusedUpgrade."""
        who = await self._access.credentials.build_headers()
        try:
            return await self._dial(who, url, subprotocol)
        except RefusedUpgrade as refusal:
            if refusal.code != 401 or not await self._access.credentials.renew(who):
                raise
        who = await self._access.credentials.build_headers()
        return await self._dial(who, url, subprotocol)

    async def renew(self) -> None:
        """Have the next requests make connections of their own: those that there are may be dead.

        What is under way goes on, until the next renewal at most; streams go on as they are.
        """
        if self._connections is None:
            return
        retired, self._retired, self._clients = self._retired, self._clients, []
        generation, _, streams = self._connections
        self._connections = generation, self._open_client(), streams
        await _close_all(retired)

    async def close(self) -> None:
        """End all requests."""
        await _close_all([*self._retired, *self._clients])

    async def _request(
        self,
        who: Headers,
        method: str,
        url: str,
        body: Any,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        requests, _ = await self._connect()
        headers = _build_headers(
            who, ("Content-Type", content_type), ("Accept", "application/json")
        )
        answer = await requests.request(
            method, url, headers=headers, body=body, _request_timeout=limits
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _dial(self, who: Headers, url: str, subprotocol: str) -> Upgraded:
        _, streams = await self._connect()
        key = new_key()
        headers = _build_headers(who, *build_request_headers(key, subprotocol).items())
        # No time limit: a timer of aiohttp's goes on for as long as the connection is its own.
        response = await streams.get(
            url,
            headers=headers,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(),
            allow_redirects=False,
            read_until_eof=False,
        )
        try:
            return check_answer(response, key, subprotocol)
        except BaseException:
            response.close()
            raise

    async def _connect(self) -> tuple[Any, aiohttp.ClientSession]:
        """The connections to use: others than before where another certificate is to be shown.

        Those from before go on until we close, for whoever still reads from them.
        """
        generation = self._access.credentials.certificate_generation
        if self._connections is None or self._connections[0] != generation:
            requests = self._open_client()
            # Streams get connections of their own, so that many of them never starve requests.
            streams = await self._stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=self._open_connector(limit=0), raise_for_status=_keep_refusal
                )
            )
            self._connections = generation, requests, streams
        return self._connections[1:]

    def _open_client(self) -> Any:
        configuration = Configuration()
        # What dials is ours, and trusts whom we do. The library makes a trust of its own that
        # nobody asks; of the system's certificates, if it isn't given any, in 0.06 s.
        known = self._access.trust.get_ca_certs(binary_form=True)
        configuration.ca_cert_data = b"".join(known) or None
        # Left to the environment, aiohttp would also send credentials from ~/.netrc.
        connector = self._open_connector(limit=_REQUESTS_AT_ONCE)
        configuration.client_session_kwargs = {"connector": connector, "trust_env": False}
        configuration.proxy = self._proxy
        client = RESTClientObject(configuration)
        self._clients.append((client, connector))
        return client

    def _open_connector(self, *, limit: int) -> aiohttp.TCPConnector:
        proxy = self._access.proxy
        if not _is_socks(proxy):
            return aiohttp.TCPConnector(ssl=self._access.trust, limit=limit)
        # `socks5h` says to let the proxy resolve names; kubectl does so anyway.
        return ProxyConnector.from_url(
            str(proxy).replace("socks5h:", "socks5:", 1),
            rdns=True,
            ssl=self._access.trust,
            limit=limit,
        )


async def _close_all(clients: list[tuple[Any, aiohttp.BaseConnector]]) -> None:
    for client, connector in clients:
        await client.close()
        await connector.close()


def _is_socks(proxy: str | None) -> bool:
    return proxy is not None and proxy.partition(":")[0].lower() in SOCKS


def _build_headers(who: Headers, *others: tuple[str, str]) -> CIMultiDict[str]:
    return CIMultiDict([("User-Agent", _USER_AGENT), *others, *who])


async def _keep_refusal(response: aiohttp.ClientResponse) -> None:
    """Read the cause before aiohttp throws it away."""
    if response.status != 101:
        raise RefusedUpgrade(response.status, await response.read())
