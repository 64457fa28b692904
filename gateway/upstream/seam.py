"""
Any of httpx's transports in place of the own one: tests' made-up answers, and engines of others.

The seam is `httpx.AsyncBaseTransport`; nothing else of httpx's client is used. What is asked of a
transport beside the request is in the request's extensions: `timeout` with `connect` and `pool`
in seconds, and `public` where the host's addresses must belong to the public internet. It may
answer in `sent` whether anything went out; else that is known from how it failed.
"""

from collections.abc import AsyncIterator

import httpx

from .exchange import IDENTITY, Headers, Outgoing
from .settings import UpstreamSettings

MAX_URLS = 1024
"""Parsed URLs kept; there is about one a target."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures before anything was sent."""


class Adapted:
    """A transport of httpx's that is asked as ours is; closed with this."""

    def __init__(self, transport: httpx.AsyncBaseTransport, settings: UpstreamSettings) -> None:
        self._transport = transport
        self._settings = settings
        self._urls: dict[str, httpx.URL] = {}

    async def exchange(self, outgoing: Outgoing) -> "_Streamed":
        """
        Send once, for the head of the answer.

        Raises:
            httpx.HTTPError: there is no answer.
        """
        request = self._request(outgoing)
        sent = True
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.HTTPError as error:
            sent = not isinstance(error, _UNSENT)
            raise
        finally:
            outgoing.sent = request.extensions.get("sent", sent)
        return _Streamed(response)

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        await self._transport.aclose()

    def _request(self, outgoing: Outgoing) -> httpx.Request:
        request = outgoing.request
        url = self._urls.get(request.url)
        if url is None:
            if len(self._urls) >= MAX_URLS:
                self._urls.clear()
            url = self._urls[request.url] = parsed(request.url)
        timeout = {
            "connect": outgoing.connect_timeout or self._settings.connect_timeout,
            "pool": self._settings.pool_timeout,
        }
        # A stream instead of `content`, which would have httpx derive headers that we set.
        return httpx.Request(
            "POST",
            url,
            headers=(IDENTITY, *request.headers, *outgoing.more),
            stream=httpx.ByteStream(request.content),
            extensions={"timeout": timeout, "public": outgoing.public},
        )


class _Streamed:
    """The answer of one of httpx's transports."""

    over = False  # there may be more to close than is known here

    def __init__(self, response: httpx.Response) -> None:
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        self.status = response.status_code
        self.headers = Headers([(name.lower(), value) for name, value in response.headers.raw])
        self._stream = stream
        self._pieces: AsyncIterator[bytes] = aiter(stream)
        self._piece: bytes | None = None
        self._ended = False

    def take(self) -> bytes | None:
        piece, self._piece = self._piece, None
        return b"" if self._ended else piece

    async def news(self) -> None:
        """
        Raises:
            httpx.HTTPError: the body does not go on.
        """
        try:
            self._piece = await anext(self._pieces) or None
        except StopAsyncIteration:
            self._ended = True
            await self.aclose()

    rest = news

    async def aclose(self) -> None:
        await self._stream.aclose()


def parsed(url: str) -> httpx.URL:
    """
    A target's address.

    Raises:
        httpx.UnsupportedProtocol: it is none.
    """
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("the configured URL is not one") from error
