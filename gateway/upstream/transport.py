"""
What stands behind `httpx.AsyncBaseTransport`: requests in, connections out.

The seam is httpx's, so that `httpx.MockTransport` can take this one's place; nothing else of
httpx's client is used. No redirect is followed, no proxy is taken from the environment,
certificates are verified. A kept-alive connection that dies before a single byte of the answer
is replaced by a new one and the request is sent again, once, which is why bodies are bytes:
whoever asked never sees that race.

Hot: `handle_async_request` once an attempt, `_Body.__anext__` once a chunk.
"""

import asyncio
import re
import ssl
import time
from pathlib import Path
from random import Random
from typing import Self

import httpx
from pydantic import BaseModel, ConfigDict, Field

from .connection import READ_SIZE, Connection
from .dialler import Dialler, Origin
from .pool import Lost, Pool
from .resolver import Resolver

_PORTS = {b"http": 80, b"https": 443}
_OWN = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive"))
_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/1\.1")
_EMPTY_BODY_HAS_LENGTH = frozenset(("POST", "PUT", "PATCH"))


class UpstreamSettings(BaseModel):
    """How connections to upstreams are made and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect_timeout: float = Field(
        default=5.0, gt=0, description="Seconds for name resolution, TCP and TLS together."
    )
    resolve_timeout: float = Field(
        default=2.0, gt=0, description="Seconds of them for name resolution."
    )
    resolve_stale: float = Field(
        default=300.0,
        ge=0,
        description="Seconds that the last good addresses of a name are used while it can not be "
        "resolved.",
    )
    pool_timeout: float = Field(
        default=5.0, gt=0, description="Seconds to wait for a connection while all are in use."
    )
    idle_timeout: float = Field(
        default=60.0, gt=0, description="Seconds that an unused connection is kept."
    )
    max_age: float = Field(
        default=300.0, gt=0, description="Seconds after which a connection is not used again."
    )
    max_connections: int = Field(
        default=1000, gt=0, description="Connections open at once to one scheme, host and port."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificate authorities to trust beside the public ones.",
    )


class RelayTransport(httpx.AsyncBaseTransport):
    """
    Sends requests over one pool per origin.

    `request.extensions["timeout"]` may hold `connect` and `pool` in seconds, else the
    settings' hold; `extensions["public"]` says that the host's addresses must belong to the
    public internet, and `extensions["sent"]` afterwards whether anything went out. `context`
    replaces the TLS settings made from `ca_file`, `dialler` how connections are opened. To be used
    in one running loop.

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
        self._context = context if context is not None else _verifying(settings.ca_file)
        self._dialler = dialler if dialler is not None else _dialler(settings)
        self._pools: dict[tuple[bytes, bytes, int | None, bool], Pool] = {}
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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send once, and return as soon as the head of the answer is there.

        The response's `stream` must be closed; that frees the connection.

        Raises:
            httpx.LocalProtocolError, httpx.UnsupportedProtocol: it cannot be sent as it is.
            httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout: nothing was sent.
            httpx.ReadError: the connection ended before an answer.
            httpx.RemoteProtocolError: the answer is not HTTP/1.1.
        """
        request.extensions["sent"] = False
        body = await _content(request)
        head = _head(request, len(body))
        pool = self._pool(request.url, public=request.extensions.get("public", False))
        timeout = request.extensions.get("timeout", {})
        connect_timeout = timeout.get("connect") or self._settings.connect_timeout
        connection = await pool.take(
            connect_timeout=connect_timeout,
            pool_timeout=timeout.get("pool") or self._settings.pool_timeout,
        )
        bodiless = request.method == "HEAD"
        request.extensions["sent"] = True
        try:
            try:
                await connection.exchange(head, body, bodiless=bodiless)
            except httpx.ReadError:
                if connection.exchanges == 1 or connection.answered:
                    raise
                connection = await pool.replace(connection, connect_timeout=connect_timeout)
                await connection.exchange(head, body, bodiless=bodiless)
            return httpx.Response(
                connection.status, headers=connection.headers, stream=_Body(pool, connection)
            )
        except BaseException:
            pool.give_back(connection)  # not clean: closed at once
            raise

    async def aclose(self) -> None:
        """Close all connections, those in use too. May be repeated."""
        self._closed = True
        for pool in self._pools.values():
            await pool.aclose()

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
        if url.raw_scheme not in _PORTS or not url.raw_host:
            raise httpx.UnsupportedProtocol("an upstream's URL starts with http:// or https://")
        port = _PORTS[url.raw_scheme] if url.port is None else url.port
        if not 0 < port < 65536:
            raise httpx.UnsupportedProtocol("an upstream's port is between 1 and 65535")
        context = self._context if url.raw_scheme == b"https" else None
        origin = Origin(url.raw_host.decode("ascii"), port, context, public)

        async def dial(lost: Lost, timeout: float) -> Connection:  # noqa: ASYNC109 - the type's
            return await self._dialler.dial(origin, lost, timeout)

        return Pool(
            dial,
            max_connections=self._settings.max_connections,
            idle_timeout=self._settings.idle_timeout,
            max_age=self._settings.max_age,
            clock=asyncio.get_running_loop().time,
        )


class _Body(httpx.AsyncByteStream):
    """The body of one answer; its end, or `aclose`, gives the connection back."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        data = await self._connection.receive()
        if data:
            return data
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)


async def _content(request: httpx.Request) -> bytes:
    stream = request.stream
    if isinstance(stream, httpx.SyncByteStream):  # it is there, and needs no waiting for
        return b"".join(stream)
    return await request.aread()


def _head(request: httpx.Request, length: int) -> bytes:
    """The request line and headers; framing is ours, whatever the caller's headers say."""
    line = b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)
    if _LINE.fullmatch(line) is None:
        raise httpx.LocalProtocolError("a method or path that cannot be sent")
    lines = [line]
    has_host = False
    for name, value in request.headers.raw:
        lower = name.lower()
        if lower in _OWN:
            continue
        has_host = has_host or lower == b"host"
        lines.append(b"%s: %s" % (name, value))
    if not has_host:
        lines.append(b"host: %s" % request.url.netloc)
    if length or request.method in _EMPTY_BODY_HAS_LENGTH:
        lines.append(b"content-length: %d" % length)
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("a header with a line break or NUL in it")
    return head + b"\r\n\r\n"


def _dialler(settings: UpstreamSettings) -> Dialler:
    resolver = Resolver(
        timeout=settings.resolve_timeout,
        stale=settings.resolve_stale,
        clock=time.monotonic,
        chance=Random(),  # noqa: S311 - nothing that it draws is a secret
    )
    return Dialler(resolver, bytearray(READ_SIZE))


def _verifying(ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
