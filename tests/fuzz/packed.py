"""Compressed bodies: what comes out is what went in, or an error, and never much at once."""

import asyncio
import gzip
import zlib
from collections.abc import Sequence
from unittest.mock import patch

from gateway.contract.errors import ProviderGarbled
from gateway.upstream.decoding import PIECE, Decoded, encoding_of
from tests.fuzz.cuts import cut, salted
from tests.support.arriving import Arriving

ALLOWANCE = 4096
"""Bytes that may come of any body here, so that small inputs can be bombs."""
_EVENTS = b'data: {"a": 1}\n\n' * 5
_RAW = zlib.compress(_EVENTS)[2:-4]

SEEDS = salted(
    gzip.compress(_EVENTS, mtime=0),
    zlib.compress(_EVENTS),
    _RAW,
    gzip.compress(_EVENTS, mtime=0)[:-9],
    gzip.compress(_EVENTS, mtime=0) * 2,
    gzip.compress(bytes(1 << 20), mtime=0),
    gzip.compress(b"", mtime=0) + b"more",
    b"",
    b"no compression at all",
    b"gzip, identity",
    b"br",
)
_MOST = ALLOWANCE + PIECE


def fuzz_packed(data: bytes) -> None:
    """It unpacks what zlib unpacks, however it is cut, and stops at its bounds."""
    _name(data)
    packed, pieces = cut(data)
    for encoding in ("gzip", "deflate"):
        with patch("gateway.upstream.decoding.ALLOWANCE", ALLOWANCE):
            unpacked = asyncio.run(_unpacked(pieces, encoding))
            assert unpacked == asyncio.run(_unpacked([packed] if packed else [], encoding))
        if unpacked is not None and packed:
            assert len(unpacked) <= _MOST + 100 * len(packed)
            window = 31 if encoding == "gzip" else 15 if packed[0] & 15 == 8 else -15
            assert unpacked == zlib.decompress(packed, window)


def _name(data: bytes) -> None:
    """Whatever the header says, there is a decoder or a refusal."""
    try:
        named = encoding_of(data.decode("latin-1"))
    except ProviderGarbled:
        return
    assert named in ("", "gzip", "deflate")


async def _unpacked(pieces: Sequence[bytes], encoding: str) -> bytes | None:
    """All of it; None where it is none."""
    made = []
    try:
        decoded = Decoded(Arriving(pieces), encoding)
        while (piece := decoded.take()) != b"":
            if piece is None:
                await decoded.news()
                continue
            assert len(piece) <= PIECE
            made.append(piece)
    except ProviderGarbled:
        return None
    return b"".join(made)
