"""What upstreams send over the wire: a response or an error of two kinds, however it is cut."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

from gateway.upstream.connection import (
    HIGH_WATER,
    MAX_HEADERS,
    MAX_INFORMATIONAL,
    READ_SIZE,
    Connection,
)
from tests.fuzz.cuts import cut, salted
from tests.support.faulty import chunk, chunked, chunked_head, response

_HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n"
_BODILESS = (204, 304)

SEEDS = salted(
    response(b'{"a": 1}'),
    chunked(b"data: 1\n\n", b"data: 2\n\n"),
    chunked_head() + b"3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
    chunked_head() + b"ffffffffffffffff\r\na",
    chunked_head() + b"-1\r\na\r\n0\r\n\r\n",
    chunked_head() + chunk(b"cut")[:-2],
    chunked_head() + b"3\nabc\n0\n\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INFORMATIONAL + 1) + response(b"late"),
    b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" + response(b"ok"),
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"<html>no HTTP at all</html>",
    b"\x15\x03\x03\x00\x02\x02\x16",
    response(b"1") + response(b"2"),
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
)


class _Result(NamedTuple):
    """What whoever asked was given: of a head that was not whole, nothing but the error."""

    error: str = ""
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    is_clean: bool = False


def fuzz_response(data: bytes) -> None:
    """
    A response is the same however it is cut, is as long as it said, and what is none becomes an
    error of the transport's; little waits in memory.
    """
    wire, pieces = cut(data)
    result = asyncio.run(exchanged(pieces))
    assert result == asyncio.run(exchanged([wire])), "different for its cutting"
    assert len(result.headers) <= MAX_HEADERS
    assert not result.status or 200 <= result.status <= 599
    for name, value in result.headers:
        assert name == name.lower()
        assert not {*b"\r\n\0"} & {*name, *value}
    if result.status and not result.error:
        _check_length(result)


def _check_length(result: _Result) -> None:
    headers = dict(result.headers)
    if result.status in _BODILESS:
        assert not result.body
    elif b"transfer-encoding" not in headers and b"content-length" in headers:
        assert len(result.body) == int(headers[b"content-length"]), "a silent end"


async def exchanged(pieces: Sequence[bytes]) -> _Result:
    wire = _Wire()
    connection = Connection(buffer=bytearray(READ_SIZE), lost=lambda _: None)
    connection.connection_made(wire)
    asking = asyncio.get_running_loop().create_task(_ask(connection))
    await asyncio.sleep(0)
    for piece in pieces:
        if not connection.is_open:
            break
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
        assert sum(map(len, connection.answer.pieces)) <= HIGH_WATER + READ_SIZE
    is_clean = connection.is_clean
    if connection.is_open:
        connection.eof_received()
    connection.connection_lost(None)
    return (await asking)._replace(is_clean=is_clean)


async def _ask(connection: Connection) -> _Result:
    result = _Result()
    try:
        answer = await connection.exchange(_HEAD, b"{}")
        result = _Result("", answer.status, (*answer.headers.pairs,))
        while (piece := answer.take()) != b"":
            if piece is None:
                await answer.news()
            else:
                result = result._replace(body=result.body + piece)
    except (httpx.ReadError, httpx.RemoteProtocolError) as error:
        return result._replace(error=type(error).__name__)
    return result


class _Wire(asyncio.Transport):
    """A socket that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, *_: int) -> None:
        """Nothing to tune."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Gone."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        """It says no more than it says."""

    def resume_reading(self) -> None:
        """Nor less."""
