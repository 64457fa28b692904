"""
Our own engine: requests in, connections out, HTTP/1.1 and nothing between.

No redirect is followed, no proxy is taken from the environment, certificates are verified. A
kept-alive connection that dies before a single byte of the answer is replaced by a new one and the
request is sent again, once, which is why bodies are bytes: whoever asked never sees that race.

Requests come by `exchange`, whose heads are prepared once a target, and from those who speak
httpx's language by `handle_async_request`.

Hot: `exchange` once an attempt, `Arrival.take` once a chunk.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import NamedTuple

import httpx

from ..contract.provider import UpstreamRequest
from . import heads
from .arrival import Arrival
from .connection import Connection
from .dialler import Dialler, dialler_of, origin_of, verifying
from .exchange import IDENTITY, Engine, Header, Outgoing
from .pool import Lost, Pool
from .seam import parsed
from .settings import UpstreamSettings

MAX_ROUTES = 1024
"""Prepared requests that are kept; there is about one a target and operation."""


_Key = tuple[str, tuple[Header, ...], bool]
"""What makes a route: URL, the headers that all its requests carry, and whether it is public."""


class _Route(NamedTuple):
    """What the requests of a target have in common: their head's beginning, and where they go."""

    head: bytes
    pool: Pool


class RelayTransport(Engine):
    """
    Sends requests over one pool per origin.

    `context` replaces the TLS settings made from `ca_file`, `dialler` how connections are opened.
    To be used in one running loop.

    Raises:
        OSError, ssl.SSLError: `ca_file` cannot be read.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        *,
        context: ssl.SSLContext | None = None,
        dialler: Dialler | None = None,
    ) -> None:
        self._settings = settings
        self._context = context if context is not None else verifying(settings.ca_file)
        self._dialler = dialler if dialler is not None else dialler_of(settings)
        self._pools: dict[tuple[bytes, bytes, int | None, bool], Pool] = {}
        self._routes: dict[_Key, _Route] = {}
        self._closed = False

    @property
    def open(self) -> int:
        """Connections idle, in use and being made, to all origins."""
        return sum(pool.open for pool in self._pools.values())

    @property
    def idle(self) -> int:
        """Connections ready for a request."""
        return sum(pool.idle for pool in self._pools.values())

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return sum(pool.waiting for pool in self._pools.values())

    def exchange(self, outgoing: Outgoing) -> Awaitable[Arrival]:
        """
        Send once, for the head of the answer.

        Raises:
            httpx.LocalProtocolError, httpx.UnsupportedProtocol: it cannot be sent as it is.
            httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout: nothing was sent.
            httpx.ReadError: the connection ended before an answer.
            httpx.RemoteProtocolError: the answer is not HTTP/1.1.
        """
        request = outgoing.request
        key = (request.url, request.headers, outgoing.public)
        route = self._routes.get(key)
        if route is None:
            route = self._prepare(key)
        more, end = heads.fields(outgoing.more), heads.end(len(request.content))
        return self._exchange(outgoing, route.pool, route.head + more + end)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send once, for the head of the answer, whose `stream` must be closed.

        `request.extensions` may hold `timeout`, of which `connect` counts, and `public`: the
        host's addresses must belong to the public internet.

        Raises:
            httpx.HTTPError: as `exchange`.
        """
        content = await request.aread()
        head = heads.beginning(request.method, request.url, request.headers.raw)
        head += heads.end(len(content)) if heads.has_length(request.method, content) else b"\r\n"
        outgoing = _Outgoing(
            UpstreamRequest(str(request.url), (), content),
            public=request.extensions.get("public", False),
            connect_timeout=request.extensions.get("timeout", {}).get("connect"),
        )
        pool = self._pool(request.url, public=outgoing.public)
        answer = await self._exchange(outgoing, pool, head, bodiless=request.method == "HEAD")
        return httpx.Response(answer.status, headers=answer.headers.pairs, stream=_Stream(answer))

    async def aclose(self) -> None:
        """Close all connections, those in use too. May be repeated."""
        self._closed = True
        for pool in self._pools.values():
            await pool.aclose()

    async def _exchange(
        self, outgoing: Outgoing, pool: Pool, head: bytes, *, bodiless: bool = False
    ) -> Arrival:
        content = outgoing.request.content
        connection = pool.take_warm()
        if connection is None:
            connection = await pool.take(
                connect_timeout=outgoing.connect_timeout or self._settings.connect_timeout,
                pool_timeout=self._settings.pool_timeout,
            )
        outgoing.sent = True
        try:
            try:
                return await connection.exchange(head, content, bodiless=bodiless)
            except httpx.ReadError:
                if connection.exchanges == 1 or connection.answered:
                    raise
                connection = await pool.replace(
                    connection,
                    connect_timeout=outgoing.connect_timeout or self._settings.connect_timeout,
                )
                return await connection.exchange(head, content, bodiless=bodiless)
        except BaseException:
            pool.give_back(connection)  # not clean: closed at once
            raise

    def _prepare(self, key: _Key) -> _Route:
        url, headers, public = key
        address = parsed(url)
        head = heads.beginning("POST", address, (IDENTITY, *headers))
        route = _Route(head, self._pool(address, public=public))
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[key] = route
        return route

    def _pool(self, url: httpx.URL, *, public: bool) -> Pool:
        # A connection whose address nobody checked is not for those that want it checked.
        key = (url.raw_scheme, url.raw_host, url.port, public)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._new_pool(url, public=public)
        return pool

    def _new_pool(self, url: httpx.URL, *, public: bool) -> Pool:
        if self._closed:
            raise httpx.ConnectError("the transport is closed")
        origin = origin_of(url, self._context, public=public)

        async def dial(lost: Lost, timeout: float) -> Connection:  # noqa: ASYNC109 - the type's
            return await self._dialler.dial(origin, lost, timeout)

        return Pool(
            dial,
            max_connections=self._settings.max_connections,
            idle_timeout=self._settings.idle_timeout,
            max_age=self._settings.max_age,
            clock=asyncio.get_running_loop().time,
        )


@dataclass(slots=True)
class _Outgoing:
    """A request in httpx's language, as it is asked for here."""

    request: UpstreamRequest
    public: bool
    connect_timeout: float | None
    more: tuple[Header, ...] = ()
    sent: bool = False


class _Stream(httpx.AsyncByteStream):
    """A body as httpx knows them."""

    def __init__(self, answer: Arrival) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := self._answer.take()) != b"":
            if data is None:
                await self._answer.news()
            else:
                yield data

    async def aclose(self) -> None:
        await self._answer.aclose()
