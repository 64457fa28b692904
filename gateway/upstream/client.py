"""
Sending a request to an upstream and reading its answer, with errors in the gateway's words.

The one place where httpx's exceptions become the contract's, on sending and on each read. A
block around an answer owns its connection: leaving it, however that happens, gives the
connection back if the answer was read to its end and closes it at once if not. Messages say what
happened and never hold a header or a body.

Hot: `send` once an attempt, `UpstreamAnswer.__anext__` once a chunk.
"""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from ..contract.errors import (
    ProviderBlocked,
    ProviderBusy,
    ProviderDisconnected,
    ProviderError,
    ProviderGarbled,
    ProviderTimedOut,
    ProviderUnreachable,
)
from ..contract.provider import UpstreamRequest
from .decoding import Decoded, encoding_of
from .dialler import AddressBlocked
from .transport import UpstreamSettings

MAX_URLS = 1024
"""Parsed URLs kept; there is about one a target."""

_IDENTITY = (b"accept-encoding", b"identity")
_BODILESS = (204, 304)


class UpstreamAnswer:
    """
    What an upstream answered: `status`, `headers` in lower case, and the body's bytes as they
    come, by `async for`. Repeated headers are joined with a comma.
    """

    __slots__ = ("_chunks", "headers", "status")

    def __init__(
        self, status: int, headers: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> None:
        self.status = status
        self.headers = headers
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """
        Raises:
            ProviderDisconnected: the connection ended before the body did.
            ProviderGarbled: the framing of the body is broken.
        """
        try:
            return await self._chunks.__anext__()
        except httpx.HTTPError as error:
            raise _named(error) from error

    async def read(self, limit: int) -> bytes:
        """
        The whole body, of at most `limit` bytes.

        Raises:
            ProviderGarbled: it is longer (`upstream_response_too_large`) or ended before its
                announced end (`upstream_truncated`), or its framing is broken.
        """
        pieces = []
        size = 0
        try:
            async for piece in self:
                size += len(piece)
                if size > limit:
                    raise ProviderGarbled(
                        f"a body of more than {limit} bytes", code="upstream_response_too_large"
                    )
                pieces.append(piece)
        except ProviderDisconnected as error:
            raise ProviderGarbled(
                f"the body ended after {size} bytes", code="upstream_truncated"
            ) from error
        return b"".join(pieces)


class Upstream:
    """
    The way to every upstream. `transport` is closed with it.

    The settings' time-outs hold where `send` is given none.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, settings: UpstreamSettings) -> None:
        self._transport = transport
        self._connect_timeout = settings.connect_timeout
        self._pool_timeout = settings.pool_timeout
        self._urls: dict[str, httpx.URL] = {}

    def send(
        self,
        request: UpstreamRequest,
        *,
        public: bool,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        connect_timeout: float | None = None,
    ) -> "_Sending":
        """
        POST once; `async with` yields the answer as soon as its headers are there.

        `public` is the provider's `is_public`. `headers` go out beside the request's own.
        `connect_timeout` is in seconds; how long the answer may take is `Deadline`'s to say.
        Leaving the block frees the connection.

        Entering raises:
            ProviderBlocked: `public`, and the host has a private address; nothing was sent.
            ProviderBusy: there is no room for a connection; nothing was sent.
            ProviderUnreachable: nothing was sent.
            ProviderDisconnected: sent, and the connection ended before an answer.
            ProviderGarbled: what came is not HTTP/1.1, has no body, or is compressed in a way
                that is not known here.
        """
        return _Sending(
            self._transport,
            self._parsed(request.url),
            (_IDENTITY, *request.headers, *headers),
            request.content,
            {
                "timeout": {"connect": connect_timeout, "pool": self._pool_timeout},
                "public": public,
            },
        )

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        await self._transport.aclose()

    def _parsed(self, url: str) -> httpx.URL:
        parsed = self._urls.get(url)
        if parsed is None:
            if len(self._urls) >= MAX_URLS:
                self._urls.clear()
            try:
                parsed = self._urls[url] = httpx.URL(url)
            except httpx.InvalidURL as error:
                raise ProviderUnreachable("the configured URL is not one") from error
        return parsed


_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures before anything was sent."""


class _Sending:
    """One request on its way: from `__aenter__` on it owns a connection."""

    __slots__ = ("_request", "_stream", "_transport")

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: httpx.URL,
        headers: tuple[tuple[bytes, bytes], ...],
        content: bytes,
        extensions: dict[str, Any],
    ) -> None:
        self._transport = transport
        # A stream instead of `content`, which would have httpx derive headers that we set.
        self._request = httpx.Request(
            "POST", url, headers=headers, stream=httpx.ByteStream(content), extensions=extensions
        )
        self._stream: httpx.AsyncByteStream | None = None

    @property
    def sent(self) -> bool:
        """Whether anything may have gone out, as the transport tells, else by how it failed."""
        return bool(self._request.extensions.get("sent", True))

    async def __aenter__(self) -> UpstreamAnswer:
        try:
            response = await self._transport.handle_async_request(self._request)
        except httpx.HTTPError as error:
            self._request.extensions.setdefault("sent", not isinstance(error, _UNSENT))
            raise _named(error) from error
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            headers = _lower(response.headers.raw)
            chunks = _readable(response.status_code, headers, aiter(stream))
        except BaseException:
            await stream.aclose()
            raise
        self._stream = stream
        return UpstreamAnswer(response.status_code, headers, chunks)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()


def _lower(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _readable(
    status: int, headers: dict[str, str], chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The body as it was meant; what `headers` said of its packing is taken out of them."""
    if status in _BODILESS:
        raise ProviderGarbled("an answer without a body", code="upstream_protocol_error")
    if "content-encoding" not in headers:
        return chunks
    encoding = encoding_of(headers.pop("content-encoding"))
    if not encoding:
        return chunks
    headers.pop("content-length", None)
    return Decoded(chunks, encoding)


def _named(error: httpx.HTTPError) -> ProviderError:
    """What a transport's error means; the text is ours or the kernel's, never a header's."""
    told = f"{type(error).__name__}: {error}"
    match error:
        case httpx.ReadTimeout() | httpx.WriteTimeout():
            return ProviderTimedOut(told)
        case httpx.NetworkError() if not isinstance(error, httpx.ConnectError):
            return ProviderDisconnected(told)
        case httpx.RemoteProtocolError() | httpx.DecodingError():
            return ProviderGarbled(told, code="upstream_protocol_error")
        case httpx.PoolTimeout():  # ours: the upstream has done nothing wrong
            return ProviderBusy(told)
        case _:
            return _unsent(error, told)


def _unsent(error: httpx.HTTPError, told: str) -> ProviderError:
    """ConnectError, ConnectTimeout, and what could not be sent at all."""
    if isinstance(error, AddressBlocked):
        return ProviderBlocked(told)
    if not isinstance(error.__cause__, ssl.SSLError):
        return ProviderUnreachable(told)
    failed = ProviderUnreachable(told, code="upstream_tls_error")
    failed.status = 502
    return failed
