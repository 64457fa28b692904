"""
An upstream's answer: its head as it is asked for, and its body as it comes or as a whole.

Hot: `UpstreamAnswer.__anext__` once a chunk, `read` once a whole answer. A header is decoded when
somebody asks for it: of a dozen, hardly any is.
"""

from collections.abc import Iterator, Mapping
from typing import Self

import httpx

from ..contract.errors import ProviderDisconnected, ProviderGarbled
from .decoding import Decoded, encoding_of
from .exchange import Body, Exchange, Header
from .naming import named

_BODILESS = (204, 304)


class Headers(Mapping[str, str]):
    """Headers by their names in lower case; repeated ones are joined with a comma."""

    __slots__ = ("_values",)

    def __init__(self, pairs: list[Header]) -> None:
        self._values = dict(pairs)
        if len(self._values) != len(pairs):
            self._values = _joined(pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[_bytes(name)].decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _bytes(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def pop(self, name: bytes) -> bytes | None:
        """Take one out, if it is there."""
        return self._values.pop(name, None)


class UpstreamAnswer:
    """
    What an upstream answered: `status`, `headers` in lower case, and the body's bytes as they
    come, by `async for`.

    Raises:
        ProviderGarbled: an answer that can have no body, or one packed in a way that is not known.
    """

    __slots__ = ("_body", "headers", "status")

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.headers = headers = Headers(exchange.headers)
        self._body: Body = exchange
        if self.status in _BODILESS:
            raise ProviderGarbled("an answer without a body", code="upstream_protocol_error")
        packed = headers.pop(b"content-encoding")
        if packed is not None and (encoding := encoding_of(packed.decode("latin-1"))):
            headers.pop(b"content-length")
            self._body = Decoded(exchange, encoding)

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
                size += len(data)
                if size > limit:
                    raise ProviderGarbled(
                        f"a body of more than {limit} bytes", code="upstream_response_too_large"
                    )
                pieces.append(data)
        except httpx.HTTPError as error:
            failed = named(error)
            if isinstance(failed, ProviderDisconnected):
                failed = ProviderGarbled(
                    f"the body ended after {size} bytes", code="upstream_truncated"
                )
            raise failed from error
        return b"".join(pieces)


def _bytes(name: str) -> bytes:
    return name.encode("latin-1", "replace")  # no name has a ? in it


def _joined(pairs: list[Header]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in pairs:
        values[name] = values[name] + b", " + value if name in values else value
    return values
