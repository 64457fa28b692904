"""
HTTP/1.1 by aiohttp, for those who must go through a proxy.

Its connector is asked for a connection and never to wait for one; names are resolved and checked
by our own dialler. Nothing is taken from the environment, no cookie is kept, no redirect followed,
no body unpacked.
"""

import socket
import ssl
from collections.abc import Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from yarl import URL

from .connection import MAX_HEADERS, READ_SIZE
from .dialler import Dialler, Origin
from .exchange import Header
from .foreign import Answered, Asked, ForeignEngine, Unanswered, check, engine_over
from .resolver import NoRoom, is_ours
from .settings import UpstreamSettings

MAX_LINE = 8190
"""Bytes of a header."""

_AUTOMATIC = ("accept", "accept-encoding", "content-type", "user-agent")
_DISCONNECTED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


def opened(
    settings: UpstreamSettings,
    *,
    context: ssl.SSLContext | None = None,
    dialler: Dialler | None = None,
) -> ForeignEngine:
    """
    An engine of aiohttp's; the arguments are those of `RelayTransport`.

    Raises:
        OSError, ssl.SSLError: `ca_file` cannot be read.
    """
    return engine_over(_Aiohttp, settings, context=context, dialler=dialler)


class _Aiohttp:
    """Sessions are made when they are asked for first: aiohttp wants a running loop for that."""

    def __init__(
        self, settings: UpstreamSettings, context: ssl.SSLContext, dialler: Dialler
    ) -> None:
        self._settings = settings
        self._context = context
        self._dialler = dialler
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}

    async def send(self, asked: Asked) -> Answered:
        """As `Library`."""
        session = self._session(public=asked.public, fresh=asked.fresh)
        used = SimpleNamespace(before=False, asked=asked)
        try:
            response = await session.request(
                asked.method,
                URL(str(asked.url), encoded=True),
                headers=[(n.decode("ascii"), v.decode("latin-1")) for n, v in asked.headers],
                data=asked.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=asked.connect_timeout),
                trace_request_ctx=used,
            )
        except aiohttp.ClientError as error:
            failure = _named(error, used_before=used.before)
            raise failure from failure.__cause__ or error
        return _Response(response)

    async def aclose(self) -> None:
        """As `Library`."""
        for session in self._sessions.values():
            await session.close()

    def _session(self, *, public: bool, fresh: bool) -> aiohttp.ClientSession:
        session = self._sessions.get((public, fresh))
        if session is None:
            session = self._sessions[public, fresh] = self._new_session(public=public, fresh=fresh)
        return session

    def _new_session(self, *, public: bool, fresh: bool) -> aiohttp.ClientSession:
        proxy = self._settings.proxy if public else None
        keeping: dict[str, Any] = {"keepalive_timeout": self._settings.idle_timeout}
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        tracing.on_connection_create_end.append(_note_connection)
        return aiohttp.ClientSession(
            connector=_Connector(
                ssl=self._context,
                resolver=_Checked(self._dialler, public=public and proxy is None),
                use_dns_cache=False,
                limit=0,  # who may ask is decided before
                happy_eyeballs_delay=None,
                **({"force_close": True} if fresh else keeping),
            ),
            response_class=_Heard,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            proxy=None if proxy is None else proxy.get_secret_value(),
            skip_auto_headers=_AUTOMATIC,
            read_bufsize=READ_SIZE,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            trace_configs=[tracing],
        )


async def _note_reuse(_: aiohttp.ClientSession, trace: SimpleNamespace, __: object) -> None:
    trace.trace_request_ctx.before = trace.trace_request_ctx.asked.sent = True


async def _note_connection(_: aiohttp.ClientSession, trace: SimpleNamespace, __: object) -> None:
    trace.trace_request_ctx.asked.sent = True


class _Checked(AbstractResolver):
    """The addresses of our own dialler: those, and no others, are connected to."""

    def __init__(self, dialler: Dialler, *, public: bool) -> None:
        self._dialler = dialler
        self._public = public

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """
        Raises:
            httpx.ConnectError: there are none, or they are not to be connected to.
        """
        addresses = await self._dialler.addresses(Origin(host, port, None, self._public))
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """The dialler is another's."""


class _Connector(aiohttp.TCPConnector):
    """Makes connections that watch what they hear."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = partial(_Handler, loop=self._loop)


class _Handler(ResponseHandler):
    """`heard` is how many bytes have come. What nobody asked for ends the connection."""

    heard = 0
    _is_asked = False

    def set_response_params(self, **given: Any) -> None:
        """From now on an answer is awaited."""
        self._is_asked = True
        super().set_response_params(**given)

    def data_received(self, data: bytes) -> None:
        """Count them, and read them."""
        is_over = self._payload is None or self._payload.is_eof()
        if data and is_over and not self._is_asked:  # aiohttp itself comes without any
            self._end()
            return
        self.heard += len(data)
        super().data_received(data)

    def feed_data(
        self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0
    ) -> None:
        """Hand on a head; after one that leaves a doubt, nothing that follows can be believed."""
        message, _ = data
        if not 100 <= message.code < 200:
            if not self._is_asked:  # aiohttp would keep it for the next request
                self._end()
                return
            self._is_asked = False
            try:
                check(_told(message.version), message.code, _headers(message.raw_headers))
            except httpx.RemoteProtocolError:
                self.force_close()  # before its end, at which it would be used again
        super().feed_data(data, size)

    def _end(self) -> None:
        self.force_close()
        self.close()


class _CutShort(aiohttp.ServerDisconnectedError):
    """The connection ended within the head of an answer."""


class _Heard(aiohttp.ClientResponse):
    """Tells an answer that was cut from one that never began."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the head."""
        handler = connection.protocol
        assert isinstance(handler, _Handler)
        before = handler.heard
        try:
            return await super().start(connection)
        except _DISCONNECTED as error:
            if handler.heard != before:
                raise _CutShort from error
            raise


class _Response:
    """An answer of aiohttp's."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.version = _told(response.version)
        self.status = response.status
        self.headers = _headers(response.raw_headers)
        self._response = response

    async def receive(self) -> bytes:
        """As `Answered`."""
        try:
            return await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise _broken(error) from error

    async def aclose(self) -> None:
        """As `Answered`: what has ended has released its connection."""
        self._response.close()


def _told(version: aiohttp.HttpVersion | None) -> str:
    return "" if version is None else f"{version.major}.{version.minor}"


def _headers(raw: Iterable[Header]) -> list[Header]:
    return [(name.lower(), value) for name, value in raw]


def _named(error: aiohttp.ClientError, *, used_before: bool) -> httpx.TransportError:
    """What a failure before an answer means, in httpx's words."""
    match error:
        case aiohttp.ClientConnectorError():
            return _unconnected(error)
        case _CutShort():
            return httpx.ReadError("the connection ended within the response")
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("no connection in time")
        case aiohttp.ClientConnectionError():
            kind = Unanswered if used_before else httpx.ReadError
            return kind("the connection ended before a response")
        case aiohttp.ClientHttpProxyError() | aiohttp.InvalidURL():
            return httpx.ConnectError("no connection: refused by the proxy, or no address")
        case _:
            return httpx.RemoteProtocolError("not a response of HTTP/1.1")


def _unconnected(error: aiohttp.ClientConnectorError) -> httpx.TransportError:
    cause = (
        error.certificate_error
        if isinstance(error, aiohttp.ClientConnectorCertificateError)
        else error.os_error
    )
    named = (NoRoom if is_ours(cause) else httpx.ConnectError)(f"no connection: {cause}")
    named.__cause__ = cause
    return named


def _broken(error: aiohttp.ClientError) -> httpx.TransportError:
    """What a failure within a body means."""
    if isinstance(error, aiohttp.ClientPayloadError) and "not completed" not in str(error):
        return httpx.RemoteProtocolError("the framing of the body is broken")
    return httpx.ReadError("the connection ended within the response")
