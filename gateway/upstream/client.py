"""
Sending a request to an upstream, with errors in the gateway's words.

A block around an answer owns its connection: leaving it, however that happens, gives the
connection back if the answer was read to its end and closes it at once if not.
"""

from types import TracebackType

import httpx

from ..contract.provider import UpstreamRequest
from .answer import UpstreamAnswer
from .deadline import Watch
from .exchange import Exchange, Header, Transport
from .naming import named
from .seam import Adapted
from .settings import UpstreamSettings
from .transport import RelayTransport


class Upstream:
    """
    The way to every upstream. `transport` is closed with it.

    The settings' time-outs hold where `send` is given none.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, settings: UpstreamSettings) -> None:
        self._transport: Transport = (
            transport if isinstance(transport, RelayTransport) else Adapted(transport, settings)
        )
        self.watch = Watch()
        """Of the deadlines of those who wait for an answer."""

    def send(
        self,
        request: UpstreamRequest,
        *,
        public: bool,
        headers: tuple[Header, ...] = (),
        connect_timeout: float | None = None,
    ) -> "Sending":
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
        return Sending(self._transport, request, headers, connect_timeout, public=public)

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        self.watch.close()
        await self._transport.aclose()


class Sending:
    """
    One request on its way: from `__aenter__` on it owns a connection. `sent` says whether anything
    may have gone out.
    """

    __slots__ = ("_exchange", "_transport", "connect_timeout", "more", "public", "request", "sent")

    def __init__(
        self,
        transport: Transport,
        request: UpstreamRequest,
        more: tuple[Header, ...],
        connect_timeout: float | None,
        *,
        public: bool,
    ) -> None:
        self._transport = transport
        self.request = request
        self.public = public
        self.more = more
        self.connect_timeout = connect_timeout
        self.sent = False
        self._exchange: Exchange | None = None

    async def __aenter__(self) -> UpstreamAnswer:
        try:
            exchange = self._exchange = await self._transport.exchange(self)
        except httpx.HTTPError as error:
            raise named(error) from error
        try:
            return UpstreamAnswer(exchange)
        except BaseException:
            await exchange.aclose()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.over:
            await exchange.aclose()
