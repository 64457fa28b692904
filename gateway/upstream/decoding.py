"""
Bodies that an upstream compressed although it was asked not to.

gzip and deflate are undone as they come, a piece at a time, so that an event is there as soon as
its bytes are and a bomb costs a piece of memory and no more. What grows beyond `MAX_RATIO` is
refused, and so is a body that ends within its compression or goes on after it. For other
encodings there is no decoder here.
"""

import zlib
from collections.abc import Awaitable
from typing import Any

from ..contract.errors import ProviderGarbled
from .exchange import Body

PIECE = 64 * 1024
"""Bytes that are unpacked at once."""
MAX_RATIO = 100
"""Bytes that a compressed byte may become."""
ALLOWANCE = 1024 * 1024
"""Bytes that may come of a body whatever its ratio: small ones repeat themselves a lot."""

_GZIP = zlib.MAX_WBITS | 16
_PLAIN = frozenset({"", "identity"})
_ZLIB_METHOD = 8  # the low half of a zlib header's first byte; no raw deflate begins with it


def encoding_of(header: str) -> str:
    """
    How a body is compressed, by its content-encoding: `gzip`, `deflate` or, for not at all, empty.

    Raises:
        ProviderGarbled: in another way, or more than once.
    """
    named = [each for each in map(str.strip, header.lower().split(",")) if each not in _PLAIN]
    match named:
        case []:
            return ""
        case ["gzip" | "x-gzip"]:
            return "gzip"
        case ["deflate"]:
            return "deflate"
        case _:
            raise ProviderGarbled("a compressed body", code="upstream_unexpected_encoding")


class Decoded:
    """What a body was before it was packed; `encoding` is `gzip` or `deflate`."""

    def __init__(self, body: Body, encoding: str) -> None:
        self._body = body
        self._encoding = encoding
        self._inflate: Any = None
        self._packed = b""
        self._has_more = False  # unpacked bytes that wait inside zlib
        self._read = 0
        self._made = 0

    def take(self) -> bytes | None:
        """
        The next piece; None if more must come first, empty at the end.

        Raises:
            ProviderGarbled: it is not what it says, ends too early, or is a bomb.
        """
        while True:
            while self._packed or self._has_more:
                if piece := self._unpack():
                    return piece
            packed = self._body.take()
            if not packed:
                return self._end() if packed is not None else None
            self._packed = packed

    def news(self) -> Awaitable[object]:
        """For when there is something to take."""
        return self._body.news()

    def rest(self) -> Awaitable[object]:
        """For when there is as much to take as may wait."""
        return self._body.rest()

    def _end(self) -> bytes:
        if self._inflate is not None and not self._inflate.eof:
            raise ProviderGarbled(
                "the body ended within its compression", code="upstream_truncated"
            )
        return b""

    def _unpack(self) -> bytes:
        """The next piece; empty if more must come first."""
        packed = self._packed
        if self._inflate is None:
            self._inflate = zlib.decompressobj(_window(self._encoding, packed))
        try:
            piece: bytes = self._inflate.decompress(packed, PIECE)
        except zlib.error as error:
            raise _broken() from error
        if self._inflate.unused_data:
            raise _broken()
        self._packed = self._inflate.unconsumed_tail
        self._has_more = len(piece) == PIECE
        self._read += len(packed) - len(self._packed)
        self._made += len(piece)
        if self._made > ALLOWANCE + MAX_RATIO * self._read:
            raise ProviderGarbled(
                f"{self._read} bytes became {self._made}", code="upstream_response_too_large"
            )
        return piece


def _window(encoding: str, start: bytes) -> int:
    """What zlib shall expect; `deflate` is zlib's format by the book, but raw from some servers."""
    if encoding == "gzip":
        return _GZIP
    return zlib.MAX_WBITS if start[0] & 0x0F == _ZLIB_METHOD else -zlib.MAX_WBITS


def _broken() -> ProviderGarbled:
    return ProviderGarbled("the body is not compressed as it says", code="upstream_protocol_error")
