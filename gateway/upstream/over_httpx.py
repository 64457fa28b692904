"""
HTTP/1.1 and HTTP/2 by the core of httpx, for upstreams to which many requests share a connection.

It is httpcore2, of httpx's maintained continuation: with stock httpcore 1.0 a place in the pool was
lost for about one cancelled request in ten. HTTP/2 is spoken where TLS agrees on it. Every step of
the library's runs in a task of its own, which is cancelled once and then left to clear up after
itself: a second cancellation meanwhile would cost a connection.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import suppress
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpcore2
import httpx
from pydantic import SecretStr

from . import heads
from .dialler import Dialler, Origin
from .exchange import Header
from .foreign import Answered, Asked, ForeignEngine, Unanswered, engine_over
from .resolver import NoRoom, is_ours
from .settings import UpstreamSettings

T = TypeVar("T")

_UNSENT = (
    httpcore2.ConnectError,
    httpcore2.ConnectTimeout,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError)


def opened(
    settings: UpstreamSettings,
    *,
    context: ssl.SSLContext | None = None,
    dialler: Dialler | None = None,
) -> ForeignEngine:
    """
    An engine of httpx's; the arguments are those of `RelayTransport`.

    Raises:
        OSError, ssl.SSLError: `ca_file` cannot be read.
    """
    return engine_over(_Httpcore, settings, context=context, dialler=dialler)


class _Hearing:
    """What is known of an exchange that has no answer yet."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.is_first = False
        """Whether its connection was made for it."""
        self.is_shared = False
        """Whether others' answers come over it too."""
        self.heard = False
        """Whether a byte has come."""
        self.is_over = False
        """Whether the connection has ended."""

    async def trace(self, event: str, _: dict[str, Any]) -> None:
        """What httpcore does."""
        if event == "connection.connect_tcp.started":
            self.is_first = True
        elif event.startswith("http2."):
            self.is_shared = True
        if event.endswith(".send_request_headers.started"):
            self._asked.sent = True


_hearing: ContextVar[_Hearing] = ContextVar("hearing")
"""Of the exchange in whose task a connection is read."""


class _Tasks:
    """The steps that are under way."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin it; it ends by itself, whoever waits for it."""
        task = asyncio.get_running_loop().create_task(step)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Wait for all of them."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever would have heard of it may be gone


class _Httpcore:
    """Pools that take whatever comes; one keeps no connection, for those who want a fresh one."""

    def __init__(
        self, settings: UpstreamSettings, context: ssl.SSLContext, dialler: Dialler
    ) -> None:
        self._settings = settings
        self._context = context
        self._dialler = dialler
        self._has_http2 = find_spec("h2") is not None
        self._pools: dict[tuple[bool, bool], httpcore2.AsyncConnectionPool] = {}
        self._tasks = _Tasks()

    async def send(self, asked: Asked) -> Answered:
        """As `Library`."""
        hearing = _Hearing(asked)
        pool = self._pool(public=asked.public, fresh=asked.fresh)
        asking = self._tasks.start(_answer(pool, asked, hearing))
        try:
            response = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.cancel()
            self._tasks.start(_abandoned(asking))
            raise
        except (*_UNSENT, *_BROKEN) as error:
            raise _named(error, hearing) from _root(error)
        answer = _Response(response, self._tasks)
        if not (hearing.heard or hearing.is_shared):  # it came behind the answer before
            await answer.aclose()
            raise httpx.RemoteProtocolError("the upstream spoke before it was asked")
        return answer

    async def aclose(self) -> None:
        """As `Library`."""
        for pool in self._pools.values():
            await pool.aclose()
        await self._tasks.end()

    def _pool(self, *, public: bool, fresh: bool) -> httpcore2.AsyncConnectionPool:
        pool = self._pools.get((public, fresh))
        if pool is None:
            proxy = self._settings.proxy if public else None
            pool = self._pools[public, fresh] = httpcore2.AsyncConnectionPool(
                ssl_context=self._context,
                proxy=None if proxy is None else _proxy(proxy),
                max_connections=None,  # who may ask is decided before
                max_keepalive_connections=0 if fresh else None,
                keepalive_expiry=self._settings.idle_timeout,
                http2=self._has_http2,
                network_backend=_Backend(self._dialler, public=public and proxy is None),
            )
        return pool


async def _answer(
    pool: httpcore2.AsyncConnectionPool, asked: Asked, hearing: _Hearing
) -> httpcore2.Response:
    _hearing.set(hearing)
    request = httpcore2.Request(
        asked.method,
        str(asked.url),
        headers=_headers(asked),
        content=asked.content,
        extensions={"timeout": {"connect": asked.connect_timeout}, "trace": hearing.trace},
    )
    return await pool.handle_async_request(request)


async def _abandoned(asking: asyncio.Task[httpcore2.Response]) -> None:
    """Close the answer that came when nobody waited for it any more."""
    with suppress(asyncio.CancelledError, *_UNSENT, *_BROKEN):
        await (await asking).aclose()


def _headers(asked: Asked) -> list[Header]:
    headers = asked.headers
    if all(name.lower() != b"host" for name, _ in headers):
        headers = [(b"host", asked.url.netloc), *headers]
    if heads.has_length(asked.method, asked.content):
        headers = [*headers, (b"content-length", b"%d" % len(asked.content))]
    return headers


def _proxy(address: SecretStr) -> httpcore2.Proxy:
    parts = urlsplit(address.get_secret_value())
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore2.Proxy(f"http://{parts.hostname}:{parts.port}", auth=auth)


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses of our own dialler, and to no others."""

    def __init__(self, dialler: Dialler, *, public: bool) -> None:
        self._dialler = dialler
        self._public = public
        self._anyio = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """
        Raises:
            httpx.ConnectError: there is no address, or none that is to be connected to.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: none takes connections.
        """
        assert timeout is not None, "every request has one"
        clock = asyncio.get_running_loop().time
        ends_at = clock() + timeout
        addresses = await self._dialler.addresses(Origin(host, port, None, self._public))
        for left in range(len(addresses), 1, -1):
            share = (ends_at - clock()) / left
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return _Stream(
                    await self._anyio.connect_tcp(addresses[-left], port, share), ends_at
                )
        last = await self._anyio.connect_tcp(addresses[-1], port, ends_at - clock())
        return _Stream(last, ends_at)


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is to stand at `ends_at`, and tells who reads of what comes."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, ends_at: float) -> None:
        self._stream = stream
        self._ends_at = ends_at
        self.is_over = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Some of what has come; empty at its end."""
        data = await self._stream.read(max_bytes, timeout)
        self.is_over = not data
        hearing = _hearing.get(None)
        if hearing is not None:
            hearing.heard = hearing.heard or bool(data)
            hearing.is_over = self.is_over
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send it."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """End it."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore2.AsyncNetworkStream:
        """Speak TLS from now on, in what is left of the time to connect."""
        left = self._ends_at - asyncio.get_running_loop().time()
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, left)
        except asyncio.CancelledError:
            await self._stream.aclose()  # of all that can go wrong, httpcore forgets this
            raise
        return _Stream(stream, self._ends_at)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for."""
        return self._stream.get_extra_info(info)


class _Response:
    """An answer of httpcore's."""

    def __init__(self, response: httpcore2.Response, tasks: _Tasks) -> None:
        version: bytes = response.extensions["http_version"]
        self.version = version.decode("ascii").removeprefix("HTTP/")
        self.status = response.status
        self.headers: list[Header] = [(name.lower(), value) for name, value in response.headers]
        self._response = response
        self._tasks = tasks
        self._pieces = aiter(response.aiter_stream())
        self._reading: asyncio.Task[bytes] | None = None

    async def receive(self) -> bytes:
        """As `Answered`."""
        self._reading = self._tasks.start(_next(self._pieces))
        try:
            return await asyncio.shield(self._reading)
        except _BROKEN as error:
            if isinstance(error, httpcore2.ProtocolError) and not self._is_over:
                raise httpx.RemoteProtocolError("the framing of the body is broken") from error
            raise httpx.ReadError("the connection ended within the response") from _root(error)

    async def aclose(self) -> None:
        """As `Answered`, however often whoever waits for it is cancelled."""
        await asyncio.shield(self._tasks.start(self._free()))

    @property
    def _is_over(self) -> bool:
        stream = self._response.extensions.get("network_stream")
        return isinstance(stream, _Stream) and stream.is_over

    async def _free(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        with suppress(*_BROKEN):
            await self._response.aclose()


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    async for piece in pieces:
        if piece:
            return piece
    return b""


def _named(error: Exception, hearing: _Hearing) -> httpx.TransportError:
    """What a failure before an answer means."""
    root = _root(error)
    match error:
        case httpcore2.ConnectTimeout():
            return httpx.ConnectTimeout("no connection in time")
        case httpcore2.ConnectError():
            kind = NoRoom if is_ours(root) else httpx.ConnectError
            return kind(f"no connection: {root}")
        case httpcore2.ProxyError() | httpcore2.UnsupportedProtocol():
            return httpx.ConnectError(f"no connection: {error}")
        case httpcore2.ProtocolError() if hearing.heard and not hearing.is_over:
            return httpx.RemoteProtocolError("not a response of HTTP")
        case _ if hearing.heard or hearing.is_first or hearing.is_shared:
            return httpx.ReadError("the connection ended before the head of a response did")
        case _:
            return Unanswered("the connection ended before a response")


def _root(error: BaseException) -> BaseException:
    """What it all came from; httpcore's pool cuts the cause off, but it is an argument too."""
    while True:
        told = next((each for each in error.args if isinstance(each, BaseException)), None)
        cause = error.__cause__ or told
        if cause is None:
            return error
        error = cause
