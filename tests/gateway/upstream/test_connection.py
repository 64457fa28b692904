import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.upstream.connection import HIGH_WATER, MAX_HEAD, READ_SIZE, Connection
from tests.support import faulty
from tests.support.malformed import BROKEN

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"


async def dialled(server: faulty.Server, lost: Callable[[Connection], None] = lambda _: None):
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(buffer=bytearray(READ_SIZE), lost=lost), "127.0.0.1", server.port
    )
    return connection


@asynccontextmanager
async def connected(script: faulty.Script) -> AsyncIterator[Connection]:
    async with faulty.serving(script) as server:
        connection = await dialled(server)
        try:
            yield connection
        finally:
            connection.close()
            await server.until_live(0)


async def received(connection: Connection) -> bytes:
    while (data := connection.answer.take()) is None:
        await connection.answer.news()
    return data


async def whole(connection: Connection) -> bytes:
    pieces = []
    while piece := await received(connection):
        pieces.append(piece)
    return b"".join(pieces)


async def test_a_response_is_read_to_its_end_and_the_connection_is_clean():
    async with connected(faulty.replying(faulty.response(b"hello"))) as connection:
        for count in (1, 2, 3):
            await connection.exchange(HEAD, b"{}")
            assert connection.answer.status == 200
            assert connection.answer.headers.pairs[0] == (b"content-type", b"application/json")
            assert await whole(connection) == b"hello"
            assert connection.is_clean
            assert connection.exchanges == count


async def test_12_bytes_split_anywhere_mean_the_same():
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        + faulty.chunked_head()
        + faulty.chunk("data: é\n\n".encode())
        + b"3;name=value\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
    )
    for cut in range(1, len(answer)):
        connection, _ = unwired()
        sending = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
        await asyncio.sleep(0)
        for piece in (answer[:cut], answer[cut:]):
            feed(connection, piece)
        await sending
        assert await whole(connection) == "data: é\n\nabc".encode()
        assert connection.is_clean


async def test_12_one_byte_a_packet_means_the_same():
    answer = faulty.chunked(b"data: 1\n\n", b"data: 2\n\n")
    pieces = [answer[i : i + 1] for i in range(len(answer))]
    async with connected(faulty.dripping(pieces)) as connection:
        await connection.exchange(HEAD, b"{}")
        assert await whole(connection) == b"data: 1\n\ndata: 2\n\n"
        assert connection.is_clean


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_17_a_status_without_a_body_ends_at_its_headers(status):
    answer = f"HTTP/1.1 {status}\r\nx: y\r\n\r\n".encode()
    async with connected(faulty.replying(answer)) as connection:
        await connection.exchange(HEAD, b"{}")
        assert await whole(connection) == b""
        assert connection.is_clean


async def test_the_answer_to_head_has_no_body_whatever_it_promises():
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    async with connected(faulty.replying(answer)) as connection:
        await connection.exchange(HEAD, b"{}", bodiless=True)
        assert await whole(connection) == b""
        assert not connection.is_clean


async def test_a_body_may_end_with_its_connection():
    answer = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    async with connected(faulty.cutting(answer)) as connection:
        await connection.exchange(HEAD, b"{}")
        assert await whole(connection) == b"all of it"
        assert not connection.is_clean


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi, and more than was announced",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi!",
    ],
)
async def test_a_connection_that_is_to_end_or_says_too_much_is_not_clean(answer):
    async with connected(faulty.replying(answer)) as connection:
        await connection.exchange(HEAD, b"{}")
        assert await whole(connection) == b"hi"
        assert not connection.is_clean


async def test_a_connection_whose_body_was_not_taken_is_not_clean():
    async with connected(faulty.replying(faulty.response(b"hello"))) as connection:
        await connection.exchange(HEAD, b"{}")
        await asyncio.sleep(0.01)
        assert not connection.is_clean


async def test_bytes_on_an_idle_connection_close_it():
    idle, lost = asyncio.Event(), asyncio.Event()

    async def says_goodbye(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.response(b"hello"))
        await idle.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await peer.gone()

    async with faulty.serving(says_goodbye) as server, asyncio.timeout(5):
        connection = await dialled(server, lambda _: lost.set())
        await connection.exchange(HEAD, b"{}")
        assert await whole(connection) == b"hello"
        assert connection.is_clean
        idle.set()
        await lost.wait()
        assert not connection.is_open


async def test_a_server_that_speaks_first_does_not_speak_http():
    async def greets(peer: faulty.Peer):
        await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        await peer.gone()

    async with connected(greets) as connection:
        await asyncio.sleep(0.02)
        with pytest.raises(httpx.RemoteProtocolError):
            await connection.exchange(HEAD, b"{}")


@pytest.mark.parametrize("rst", [False, True])
async def test_10_a_body_cut_at_any_offset_never_ends_silently(rst):
    bodies = (faulty.response(b"0123456789"), faulty.chunked(b"01234", b"56789"))
    for answer in bodies:
        for cut in range(len(answer)):
            connection, _ = unwired()
            sending = asyncio.get_running_loop().create_task(reading(connection))
            await asyncio.sleep(0)
            if cut:
                feed(connection, answer[:cut])
            if rst:
                connection.connection_lost(ConnectionResetError())
            else:
                connection.eof_received()
            with pytest.raises(httpx.ReadError):
                await sending
            assert not connection.is_clean
            assert connection.answered == (cut > 0)


@pytest.mark.parametrize("rst", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123",
        faulty.chunked_head() + faulty.chunk(b"0123"),
        faulty.chunked_head() + b"a\r\n0123",
    ],
)
async def test_11_a_cut_over_a_socket_is_an_error_after_what_came(answer, rst):
    async with connected(faulty.cutting(answer, rst=rst)) as connection:
        with pytest.raises(httpx.ReadError):
            await reading(connection)


async def test_16_17_a_broken_answer_is_a_protocol_error_and_the_connection_is_not_clean():
    for answer in BROKEN.values():
        connection, _ = unwired()
        task = asyncio.get_running_loop().create_task(reading(connection))
        await asyncio.sleep(0)
        for start in range(0, len(answer), READ_SIZE):
            if connection.is_open:
                feed(connection, answer[start : start + READ_SIZE])
        with pytest.raises(httpx.RemoteProtocolError):
            await task
        assert not connection.is_open
        assert not connection.is_clean


async def test_17_eight_informational_responses_are_borne():
    answer = b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" * 8 + faulty.response(b"hello")
    async with connected(faulty.replying(answer)) as connection:
        await connection.exchange(HEAD, b"{}")
        assert b"link" not in connection.answer.headers.raw
        assert await whole(connection) == b"hello"
        assert connection.is_clean


async def test_17_an_informational_response_has_no_body_that_would_begin_the_next():
    hint = b"HTTP/1.1 199 Hints\r\ncontent-length: 5\r\n\r\nhello"
    async with connected(faulty.replying(hint + faulty.response(b" world"))) as connection:
        with pytest.raises(httpx.RemoteProtocolError):
            await connection.exchange(HEAD, b"{}")


async def test_17_what_comes_before_a_head_is_something_that_has_come():
    connection, _ = unwired()
    task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    feed(connection, b"HTTP/1.1 199 Hints\r\ncontent-length: 50\r\n\r\nhello")
    connection.connection_lost(None)
    with pytest.raises(httpx.ReadError):
        await task
    assert connection.answered


@pytest.mark.parametrize("hint", [b"", b"HTTP/1.1 103 Hints\r\nlink: %b\r\n\r\n" % (b"x" * 20_000)])
@pytest.mark.parametrize("size", [40_000, 50_000, 70_000])
async def test_17_headers_are_bounded_however_much_body_comes_with_them(hint, size):
    line = b"x: %b\r\n" % (b"y" * (size // 2))
    head = hint + b"HTTP/1.1 200 OK\r\ncontent-length: 30000\r\n" + line * 2 + b"\r\n"
    connection, _ = unwired()
    task = asyncio.get_running_loop().create_task(reading(connection))
    await asyncio.sleep(0)
    cut = min(len(head) - 5, 60_000)
    feed(connection, head[:cut])
    feed(connection, head[cut:] + bytes(30_000))
    if len(head) > MAX_HEAD:
        with pytest.raises(httpx.RemoteProtocolError):
            await task
    else:
        assert await task == bytes(30_000)


async def test_trailers_are_no_headers_neither_of_this_response_nor_of_the_next():
    connection, _ = unwired()
    for _ in range(2):
        task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
        await asyncio.sleep(0)
        feed(connection, faulty.chunked_head() + faulty.chunk(b"hello") + b"0\r\nlate: x\r\n\r\n")
        answer = await task
        assert await whole(connection) == b"hello"
        assert connection.is_clean
        assert b"late" not in answer.headers.raw
        assert b"late" not in dict(answer.headers.pairs)


async def test_an_answer_that_is_over_has_an_end_and_none_of_what_comes_next():
    connection, _ = unwired()
    freed: list[Connection] = []
    connection.free = freed.append
    loop = asyncio.get_running_loop()
    first = loop.create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    feed(connection, faulty.response(b"hello"))
    answer = await first
    assert not answer.over
    assert await whole(connection) == b"hello"
    assert answer.over
    assert freed == [connection]
    second = loop.create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    feed(connection, faulty.response(b"world"))
    await second
    answer.release()
    assert answer.take() == b""
    assert freed == [connection]
    assert await whole(connection) == b"world"


async def test_what_comes_for_one_who_was_cancelled_wakes_nobody():
    connection, _ = unwired()
    task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    feed(connection, faulty.chunked_head())
    assert connection.answer.status == 200
    assert not connection.is_clean


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
async def test_16_no_bytes_whatever_raise_anything_but_a_transport_error(data, cuts):
    connection, _ = unwired()
    task = asyncio.get_running_loop().create_task(reading(connection))
    await asyncio.sleep(0)
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in pairwise(bounds):
        if connection.is_open:
            feed(connection, data[start:stop])
    connection.eof_received()
    with suppress(httpx.ReadError, httpx.RemoteProtocolError):
        await task


async def test_an_answer_that_does_not_wait_for_the_request_is_heard_but_ends_the_connection():
    heard = asyncio.Event()

    async def refuses_early(peer: faulty.Peer):
        await peer.head()
        await peer.send(faulty.response(b"too large", status="413 Content Too Large"))
        await heard.wait()

    body = bytes(32 * 1024 * 1024)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with connected(refuses_early) as connection:
        async with asyncio.timeout(10):
            await connection.exchange(head, body)
        assert connection.answer.status == 413
        assert await whole(connection) == b"too large"
        assert not connection.is_clean
        heard.set()


async def test_a_large_request_arrives_whole():
    body = os.urandom(5 * 1024 * 1024)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with faulty.serving(faulty.replying(faulty.response(b"ok"))) as server:
        connection = await dialled(server)
        await connection.exchange(head, body)
        assert await whole(connection) == b"ok"
        assert server.requests[0].body == body
        assert connection.is_clean
        connection.close()
        await server.until_live(0)


async def test_40_a_reader_that_stops_stops_the_upstream():
    sent = 0

    async def floods(peer: faulty.Peer):
        nonlocal sent
        await peer.request()
        await peer.send(faulty.chunked_head())
        for _ in range(400):
            await peer.send(faulty.chunk(bytes(64 * 1024)))
            sent += 1
        await peer.send(faulty.chunk(b""))
        await peer.gone()

    async with connected(floods) as connection:
        await connection.exchange(HEAD, b"{}")
        await asyncio.sleep(0.2)
        stopped_at = sent
        assert stopped_at < 400
        assert len(await received(connection)) <= HIGH_WATER + READ_SIZE
        size = 0
        while piece := await received(connection):
            assert len(piece) <= HIGH_WATER + READ_SIZE
            size += len(piece)
        assert connection.is_clean


async def test_many_tiny_chunks_are_charged_for_what_they_cost():
    connection, transport = unwired()
    task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    feed(connection, faulty.chunked_head())
    await task
    feed(connection, faulty.chunk(b"a") * 2000)
    assert transport.paused
    assert await received(connection) == b"a" * 2000
    assert not transport.paused


async def test_whoever_wants_the_whole_body_is_woken_once_however_many_reads_it_takes():
    connection, _ = unwired()
    task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    feed(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    await task
    assert connection.answer.take() is None
    whole = connection.answer.rest()
    for _ in range(9):
        feed(connection, b"a" * 100)
        assert not whole.done()
    feed(connection, b"a" * 100)
    assert whole.done()
    assert connection.answer.take() == b"a" * 1000
    assert connection.is_clean


async def test_whoever_wants_a_whole_body_is_woken_for_as_much_as_may_wait_and_for_its_failure():
    connection, wire = unwired()
    task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    feed(connection, faulty.chunked_head())
    await task
    much = connection.answer.rest()
    feed(connection, faulty.chunk(bytes(HIGH_WATER - 100)))
    assert not much.done()
    feed(connection, faulty.chunk(bytes(1000)))
    assert much.done()
    assert wire.paused
    assert connection.answer.take() == bytes(HIGH_WATER + 900)
    assert not wire.paused
    more = connection.answer.rest()
    feed(connection, b"zz")
    assert more.done()
    with pytest.raises(httpx.RemoteProtocolError):
        connection.answer.take()


async def test_whoever_waits_may_be_cancelled_and_the_connection_is_not_clean():
    async with faulty.serving(faulty.hanging) as server:
        connection = await dialled(server)
        task = asyncio.get_running_loop().create_task(connection.exchange(HEAD, b"{}"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not connection.is_clean
        connection.close()
        await server.until_live(0)


async def test_30_a_transport_that_ended_a_turn_ago_is_not_written_to():
    connection, wire = unwired()
    wire.closing = True
    with pytest.raises(httpx.ReadError):
        await connection.exchange(HEAD, b"{}")
    assert not connection.answered
    assert wire.written == b""


async def test_the_loss_of_a_connection_is_told_once():
    lost: list[Connection] = []
    async with faulty.serving(faulty.cutting(faulty.response(b"hi"))) as server:
        connection = await dialled(server, lost.append)
        await connection.exchange(HEAD, b"{}")
        assert await whole(connection) == b"hi"
        await server.until_live(0)
        await asyncio.sleep(0.01)
        connection.close()
        await asyncio.sleep(0.01)
    assert lost == [connection]


async def test_35_the_kernel_watches_over_a_silent_peer():
    async with connected(faulty.hanging) as connection:
        peer = connection._transport.get_extra_info("socket")
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# A connection without a socket, for what no network makes happen on purpose


class Wire:
    """The transport's side of a connection, as far as a connection uses it."""

    def __init__(self) -> None:
        self.paused = False
        self.closing = False
        self.written = b""

    def get_extra_info(self, name: str) -> socket.socket:
        return socket.socket()

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def unwired() -> tuple[Connection, Wire]:
    connection, wire = Connection(buffer=bytearray(READ_SIZE), lost=lambda _: None), Wire()
    with wire.get_extra_info("socket") as made:
        wire.get_extra_info = lambda name: made
        connection.connection_made(wire)
    return connection, wire


def feed(connection: Connection, data: bytes) -> None:
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


async def reading(connection: Connection) -> bytes:
    await connection.exchange(HEAD, b"{}")
    return await whole(connection)
