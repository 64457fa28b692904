import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import ProviderGarbled
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Engine, Upstream
from gateway.upstream.decoding import ALLOWANCE, MAX_RATIO, PIECE, Decoded, encoding_of
from tests.support import faulty
from tests.support.arriving import Arriving

Chat = Callable[..., UpstreamRequest]
MEGABYTE = 1024 * 1024


def zlibbed(data: bytes) -> bytes:
    return zlib.compress(data)


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {"gzip": gzip.compress, "zlib": zlibbed, "raw deflate": raw}
NAMED = {"gzip": "gzip", "zlib": "deflate", "raw deflate": "deflate"}
PACKED = pytest.mark.parametrize("packer", PACKERS)


async def each(decoded: Decoded) -> AsyncIterator[bytes]:
    while (piece := decoded.take()) != b"":
        if piece is None:
            await decoded.news()
        else:
            yield piece


async def unpacked(encoding: str, *chunks: bytes) -> list[bytes]:
    return [piece async for piece in each(Decoded(Arriving(chunks), encoding))]


@PACKED
@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(1, 3000), max_size=9))
async def test_12_24_packed_bytes_cut_anywhere_mean_the_same(packer, data, cuts):
    packed = PACKERS[packer](data)
    bounds = sorted({0, len(packed), *(cut for cut in cuts if cut < len(packed))})
    chunks = [packed[start:stop] for start, stop in pairwise(bounds)]
    assert b"".join(await unpacked(NAMED[packer], *chunks)) == data


@PACKED
async def test_24_a_large_body_comes_in_pieces(packer):
    data = b"".join(b'{"n": %d}' % (number * 7919) for number in range(200_000))
    pieces = await unpacked(NAMED[packer], PACKERS[packer](data))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE


async def test_24_an_event_is_there_as_soon_as_its_bytes_are():
    packer = zlib.compressobj(wbits=31)
    sent = 0

    def events() -> Iterator[bytes]:
        nonlocal sent
        for number in range(20):
            sent += 1
            yield packer.compress(b"data: %d\n\n" % number) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packer.flush()

    pieces = each(Decoded(Arriving(events()), "gzip"))
    for number in range(20):
        assert await anext(pieces) == b"data: %d\n\n" % number
        assert sent == number + 1
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)


@PACKED
async def test_24_a_body_cut_anywhere_within_its_packing_never_ends_silently(packer):
    packed = PACKERS[packer](b"data: hello\n\n" * 20)
    for cut in range(1, len(packed)):
        with pytest.raises(ProviderGarbled) as failure:
            await unpacked(NAMED[packer], packed[:cut])
        assert failure.value.code == "upstream_truncated"


async def test_24_no_bytes_are_an_empty_body():
    assert await unpacked("gzip") == []


@PACKED
@pytest.mark.parametrize("tail", [b"x", b"\n\n", gzip.compress(b"more", mtime=0)])
async def test_24_what_follows_the_end_is_refused(packer, tail):
    packed = PACKERS[packer](b"hello")
    for chunks in ((packed, tail), (packed + tail,)):
        with pytest.raises(ProviderGarbled) as failure:
            await unpacked(NAMED[packer], *chunks)
        assert failure.value.code == "upstream_protocol_error"


@given(data=st.binary(max_size=200), encoding=st.sampled_from(["gzip", "deflate"]))
async def test_24_bytes_that_are_not_packed_raise_a_providers_error_and_nothing_else(
    data, encoding
):
    with suppress(ProviderGarbled):
        await unpacked(encoding, data)


def bomb(size: int) -> list[bytes]:
    """Ten megabytes, or less, that become a thousand times as much, a chunk at a time."""
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = start + block * ((size - len(start)) // len(block))
    return [packed[at : at + PIECE] for at in range(0, len(packed), PIECE)]


async def test_24_a_bomb_of_ten_megabytes_costs_no_memory():
    chunks = bomb(10 * MEGABYTE)
    assert sum(map(len, chunks)) > 9 * MEGABYTE
    made = 0

    async def measuring(decoded: Decoded) -> None:
        nonlocal made
        async for piece in each(decoded):
            made += len(piece)

    tracemalloc.start()
    try:
        with pytest.raises(ProviderGarbled) as failure:
            await measuring(Decoded(Arriving(chunks), "gzip"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failure.value.code == "upstream_response_too_large"
    assert made <= ALLOWANCE + MAX_RATIO * PIECE // 8
    assert peak < 2 * MEGABYTE


async def test_24_what_stays_below_the_ratio_is_no_bomb():
    data = (b"a" * 60 + b"0123456789abcdefghijklmnopqrstuvwxyz") * 50_000
    packed = gzip.compress(data)
    assert len(data) > ALLOWANCE + MAX_RATIO * len(packed)
    with pytest.raises(ProviderGarbled):
        await unpacked("gzip", packed)
    small = gzip.compress(bytes(ALLOWANCE))
    assert b"".join(await unpacked("gzip", small)) == bytes(ALLOWANCE)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", ""),
        ("identity", ""),
        ("Identity, identity", ""),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        (" gzip ", "gzip"),
        ("identity, gzip", "gzip"),
        ("deflate", "deflate"),
    ],
)
def test_an_encoding_has_one_name(header: str, encoding: str):
    assert encoding_of(header) == encoding


@pytest.mark.parametrize("header", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "gzip;q=1"])
def test_24_what_has_no_decoder_is_refused(header: str):
    with pytest.raises(ProviderGarbled) as failure:
        encoding_of(header)
    assert failure.value.code == "upstream_unexpected_encoding"


# Over sockets


def packed_response(packed: bytes, encoding: str) -> bytes:
    headers = [("content-type", "application/json"), ("Content-Encoding", encoding)]
    return faulty.response(packed, headers=headers)


@PACKED
async def test_24_a_whole_answer_is_unpacked_and_nothing_says_that_it_was_packed(
    upstream: Upstream, transport: Engine, chat: Chat, packer
):
    answer = packed_response(PACKERS[packer](b'{"a": 1}'), NAMED[packer])
    async with faulty.serving(faulty.replying(answer)) as server:
        for _ in range(3):
            async with upstream.send(chat(server.origin), public=False) as got:
                assert await got.read(1000) == b'{"a": 1}'
                assert got.headers == {"content-type": "application/json"}
        assert server.accepted == server.live == 1


async def test_24_a_packed_stream_is_relayed_as_it_comes(upstream: Upstream, chat: Chat):
    packer = zlib.compressobj(wbits=31)
    heard = asyncio.Event()

    async def streams(peer: faulty.Peer):
        await peer.request()
        head = faulty.chunked_head().replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
        await peer.send(head)
        for number in range(5):
            heard.clear()
            event = packer.compress(b"data: %d\n\n" % number) + packer.flush(zlib.Z_SYNC_FLUSH)
            await peer.send(faulty.chunk(event))
            async with asyncio.timeout(5):
                await heard.wait()  # the next is packed when this one was read
        await peer.send(faulty.chunk(packer.flush()), faulty.chunk(b""))

    got = []
    async with (
        faulty.serving(streams) as server,
        upstream.send(chat(server.origin), public=False) as answer,
    ):
        async for piece in answer:
            got.append(piece)
            heard.set()
    assert got == [b"data: %d\n\n" % number for number in range(5)]


async def test_24_a_bomb_is_let_go_of_at_once(upstream: Upstream, transport: Engine, chat: Chat):
    chunks = bomb(10 * MEGABYTE)

    async def bombs(peer: faulty.Peer):
        await peer.request()
        head = faulty.chunked_head().replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
        await peer.send(head, *map(faulty.chunk, chunks))
        await peer.gone()

    async with faulty.serving(bombs) as server:
        with pytest.raises(ProviderGarbled) as failure:
            async with upstream.send(chat(server.origin), public=False) as answer:
                await answer.read(32 * MEGABYTE)
        assert failure.value.code == "upstream_response_too_large"
        assert transport.open == 0
        await server.until_live(0)
