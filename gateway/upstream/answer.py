"""
An upstream's answer: its head as it is asked for, and its body as it comes or as a whole.

Hot: `UpstreamAnswer.__anext__` once a chunk, `read` once a whole answer.
"""

from typing import Self

import httpx

from ..contract.errors import ProviderDisconnected, ProviderGarbled
from .decoding import Decoded, encoding_of
from .exchange import Body, Exchange
from .naming import named

_BODILESS = (204, 304)


class UpstreamAnswer:
    """
    What an upstream answered: `status`, `headers` in lower case, and the body's bytes as they
    come, by `async for`.

    Raises:
        ProviderGarbled: an answer that can have no body, or one packed in a way that is not known.
    """

    __slots__ = ("_body", "headers", "status")

    def __init__(self, exchange: Exchange) -> None:
        self.status = status = exchange.status
        self.headers = headers = exchange.headers
        self._body: Body = exchange
        if status in _BODILESS:
            raise ProviderGarbled("an answer without a body", code="upstream_protocol_error")
        packed = headers.raw.pop(b"content-encoding", None)
        if packed is not None and (encoding := encoding_of(packed.decode("latin-1"))):
            headers.raw.pop(b"content-length", None)
            self._body = Decoded(exchange, encoding)

    def is_of_type(self, media_type: bytes) -> bool:
        """Whether its content type is that, in lower case, with whatever parameters."""
        return self.headers.raw.get(b"content-type", b"").lower().startswith(media_type)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """
        Raises:
            ProviderDisconnected: the connection ended before the body did.
            ProviderGarbled: the framing of the body is broken.
        """
        body = self._body
        try:
            while (data := body.take()) is None:
                await body.news()
        except httpx.HTTPError as error:
            raise named(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def read(self, limit: int) -> bytes:
        """
        The whole body, of at most `limit` bytes.

        Raises:
            ProviderGarbled: it is longer (`upstream_response_too_large`) or ended before its
                announced end (`upstream_truncated`), or its framing is broken.
        """
        body = self._body
        pieces: list[bytes] = []
        size = 0
        try:
            while (data := body.take()) != b"":
                if data is None:
                    await body.rest()
                    continue
                pieces.append(data)
                size += len(data)
                if size > limit:
                    raise ProviderGarbled(
                        f"a body of more than {limit} bytes", code="upstream_response_too_large"
                    )
        except httpx.HTTPError as error:
            failed = named(error)
            if isinstance(failed, ProviderDisconnected):
                failed = ProviderGarbled(
                    f"the body ended after {size} bytes", code="upstream_truncated"
                )
            raise failed from error
        return b"".join(pieces)
