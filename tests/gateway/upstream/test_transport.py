import asyncio
import random
import ssl
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from gateway.upstream import Engine, UpstreamSettings
from tests.gateway.upstream.engines import MakeEngine
from tests.support import faulty


def post(url: str, content: bytes = b"{}", **options) -> httpx.Request:
    return httpx.Request("POST", url, content=content, **options)


async def ask(transport: Engine, request: httpx.Request) -> tuple[int, bytes]:
    response = await transport.handle_async_request(request)
    return response.status_code, b"".join([piece async for piece in response.stream])


async def test_a_request_goes_out_as_it_was_made(transport: Engine):
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        request = post(
            f"{server.origin}/v1/chat?x=a%20b",
            headers={"X-Own": "1", "transfer-encoding": "chunked", "content-length": "99"},
        )
        assert await ask(transport, request) == (200, b"hello")
    got = server.requests[0]
    assert got.line == "POST /v1/chat?x=a%20b HTTP/1.1"
    assert got.body == b"{}"
    assert got.headers["host"] == f"127.0.0.1:{server.port}"
    assert got.headers["x-own"] == "1"
    assert got.headers["content-length"] == "2"
    assert "transfer-encoding" not in got.headers


async def test_a_get_has_no_length_and_a_host_may_be_given(transport: Engine):
    async with faulty.serving(faulty.replying(faulty.response(b"up"))) as server:
        request = httpx.Request("GET", f"{server.origin}/health", headers={"host": "other"})
        assert await ask(transport, request) == (200, b"up")
    assert "content-length" not in server.requests[0].headers
    assert server.requests[0].headers["host"] == "other"


async def test_one_connection_serves_one_request_after_another(transport: Engine):
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        for _ in range(50):
            await ask(transport, post(server.origin))
            assert transport.open == transport.idle
    assert server.accepted == 1


async def test_each_origin_has_connections_of_its_own(transport: Engine):
    script = faulty.replying(faulty.response(b"hello"))
    async with faulty.serving(script) as one, faulty.serving(script) as two:
        for server in (one, two, one, two):
            await ask(transport, post(server.origin))
        assert (one.accepted, two.accepted) == (1, 1)
        assert (one.live, two.live) == (1, 1)


@pytest.mark.parametrize("rst", [False, True])
async def test_30_a_connection_that_died_while_idle_costs_nobody_an_error(transport: Engine, rst):
    async def one_each(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.response(b"hello"))
        await peer.request()  # the second is read and never answered
        if rst:
            peer.reset()

    async with faulty.serving(one_each) as server:
        for _ in range(20):
            assert await ask(transport, post(server.origin, b'{"n": 1}')) == (200, b"hello")
        assert all(each.body == b'{"n": 1}' for each in server.requests)


@pytest.mark.parametrize("idle", [0.004, 0.05])
async def test_30_a_server_that_closes_idle_connections_soon_costs_nobody_an_error(
    transport: Engine, idle: float
):
    chance = random.Random(30)

    async def impatient(peer: faulty.Peer):
        request = await peer.request()
        with suppress(TimeoutError):
            while request is not None:
                await peer.send(faulty.response(b"hello"))
                async with asyncio.timeout(idle):
                    request = await peer.request()

    async def asks_again_just_then() -> None:
        for _ in range(25):
            assert await ask(transport, post(server.origin)) == (200, b"hello")
            await asyncio.sleep(idle * chance.uniform(0.8, 1.2))

    async with faulty.serving(impatient) as server:
        async with asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(asks_again_just_then())
        assert server.accepted > 40


@pytest.mark.parametrize("pause", [0, 0.02], ids=["at once", "later"])
async def test_what_nobody_asked_for_is_nobodys_answer(transport: Engine, pause: float):
    goodbye = faulty.response(b"sorry", status="408 Request Timeout")

    async def says_goodbye(peer: faulty.Peer):
        while await peer.request() is not None:
            answer = faulty.response(b"hello")
            await peer.send(*([answer, goodbye] if pause else [answer + goodbye]), pause=pause)

    async with faulty.serving(says_goodbye) as server:
        for _ in range(3):
            # What came with an answer may make that one garbled, but is none itself.
            with suppress(httpx.RemoteProtocolError):
                assert await ask(transport, post(server.origin)) == (200, b"hello")
            await asyncio.sleep(2 * pause)


async def test_30_it_is_sent_again_once_and_not_more(transport: Engine):
    answered = 0

    async def only_the_first(peer: faulty.Peer):
        nonlocal answered
        if await peer.request() is not None and not answered:
            answered = 1
            await peer.send(faulty.response(b"hello"))
            await peer.request()

    async with faulty.serving(only_the_first) as server:
        await ask(transport, post(server.origin))
        with pytest.raises(httpx.ReadError):
            await ask(transport, post(server.origin))
        assert len(server.requests) == 3


@pytest.mark.parametrize("begun", [False, True])
async def test_30_nothing_is_sent_again_on_a_new_connection_or_after_a_byte(
    transport: Engine, begun
):
    async def breaks(peer: faulty.Peer):
        await peer.request()
        if begun:
            await peer.send(faulty.response(b"hello"))
            await peer.request()
            await peer.send(b"HTTP/1.1 200")

    async with faulty.serving(breaks) as server:
        if begun:
            await ask(transport, post(server.origin))
        with pytest.raises(httpx.ReadError):
            await ask(transport, post(server.origin))
        assert server.accepted == 1


async def test_01_a_closed_port_is_a_connect_error(transport: Engine):
    with pytest.raises(httpx.ConnectError):
        await ask(transport, post(f"http://127.0.0.1:{faulty.refusing_port()}/"))
    assert transport.open == 0


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
async def test_02_a_name_that_does_not_exist_is_a_connect_error(
    transport: Engine, host, monkeypatch
):
    loop = asyncio.get_running_loop()
    if not hasattr(loop, "_selector"):  # uvloop resolves in C
        host = "127.0.0.1.nowhere.invalid" if len(host) < 64 else host
    with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
        await ask(transport, post(f"http://{host}/", extensions={"timeout": {"connect": 3.0}}))
    assert transport.open == 0


async def test_a_connect_that_takes_too_long_is_named_and_frees_its_slot(
    transport: Engine,
):
    async with faulty.serving(faulty.hanging) as server:
        request = post(
            f"https://127.0.0.1:{server.port}/", extensions={"timeout": {"connect": 0.05}}
        )
        with pytest.raises(httpx.ConnectTimeout):
            await ask(transport, request)
        assert transport.open == 0
        await server.until_live(0)


async def test_a_wait_for_a_connection_is_bounded(engine: MakeEngine):
    transport = engine(UpstreamSettings(max_connections=1, pool_timeout=0.01))
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        held = await transport.handle_async_request(post(server.origin))
        with pytest.raises(httpx.PoolTimeout):
            await ask(transport, post(server.origin))
        await held.stream.aclose()
        assert (transport.open, transport.waiting) == (0, 0)
        await transport.aclose()


@pytest.mark.parametrize("bad", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
@pytest.mark.parametrize("where", ["name", "value"])
async def test_48_a_header_with_a_line_break_is_not_sent(transport: Engine, bad, where):
    header = (bad, b"x") if where == "name" else (b"x", bad)
    async with faulty.serving(faulty.hanging) as server:
        with pytest.raises(httpx.LocalProtocolError):
            await ask(transport, post(server.origin, headers=[header]))
        assert server.accepted == 0


@pytest.mark.parametrize("method", ["GET /evil HTTP/1.1\r\nx:", "", "A B"])
async def test_a_method_that_is_none_is_not_sent(transport: Engine, method):
    with pytest.raises(httpx.LocalProtocolError):
        await ask(transport, httpx.Request(method, "http://127.0.0.1:1/"))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/v1/chat", "http:///v1"])
async def test_a_url_without_http_or_host_is_refused(transport: Engine, url):
    with pytest.raises(httpx.UnsupportedProtocol):
        await ask(transport, post(url))


async def test_23_a_redirect_is_an_answer_like_any_other(transport: Engine):
    async with faulty.serving(faulty.hanging) as other:
        moved = faulty.response(
            b"", status="307 Moved", headers=[("location", f"{other.origin}/v1")]
        )
        async with faulty.serving(faulty.replying(moved)) as server:
            assert await ask(transport, post(server.origin)) == (307, b"")
        assert other.accepted == 0


async def test_no_proxy_is_taken_from_the_environment(
    engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{faulty.refusing_port()}")
    transport = engine(UpstreamSettings())
    async with faulty.serving(faulty.replying(faulty.response(b"direct"))) as server:
        assert await ask(transport, post(server.origin)) == (200, b"direct")
        await transport.aclose()


async def test_tls_is_spoken_where_the_certificate_is_trusted(engine: MakeEngine, tmp_path: Path):
    ca_file, context = faulty.self_signed(tmp_path)
    transport = engine(UpstreamSettings(ca_file=ca_file))
    answer = faulty.chunked(b"data: 1\n\n" * 50_000)
    async with faulty.serving(faulty.replying(answer), context=context) as server:
        for _ in range(3):
            assert await ask(transport, post(server.origin)) == (200, b"data: 1\n\n" * 50_000)
        assert server.accepted == 1
        await transport.aclose()


async def test_04_a_certificate_that_nobody_trusts_is_refused(transport: Engine, tmp_path: Path):
    _, context = faulty.self_signed(tmp_path)
    async with faulty.serving(faulty.hanging, context=context) as server:
        with pytest.raises(httpx.ConnectError) as failure:
            await ask(transport, post(server.origin))
        assert isinstance(failure.value.__cause__, ssl.SSLCertVerificationError)
        assert server.requests == []


async def test_04_a_certificate_for_another_name_is_refused(engine: MakeEngine, tmp_path: Path):
    ca_file, context = faulty.self_signed(tmp_path, host="elsewhere.example")
    transport = engine(UpstreamSettings(ca_file=ca_file))
    async with faulty.serving(faulty.hanging, context=context) as server:
        with pytest.raises(httpx.ConnectError) as failure:
            await ask(transport, post(server.origin))
        assert isinstance(failure.value.__cause__, ssl.SSLCertVerificationError)
        await transport.aclose()


async def test_04_plain_http_in_answer_to_tls_is_refused(transport: Engine):
    async def answers_plainly(peer: faulty.Peer):
        await peer.reader.read(1)
        await peer.send(faulty.response(b"hello"))
        await peer.gone()

    async with faulty.serving(answers_plainly) as server:
        with pytest.raises(httpx.ConnectError) as failure:
            await ask(transport, post(f"https://127.0.0.1:{server.port}/"))
        assert isinstance(failure.value.__cause__, ssl.SSLError)


async def test_closing_ends_answers_under_way_and_refuses_new_requests(engine: MakeEngine):
    transport = engine(UpstreamSettings())

    async def begins(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.chunked_head())
        await peer.gone()

    async with faulty.serving(begins) as server:
        response = await transport.handle_async_request(post(server.origin))
        await transport.aclose()
        await transport.aclose()
        with pytest.raises(httpx.ReadError):
            await anext(aiter(response.stream))
        await server.until_live(0)
        for url in (server.origin, "http://127.0.0.1:1/"):
            with pytest.raises(httpx.ConnectError):
                await ask(transport, post(url))


async def test_an_exhausted_body_stays_exhausted(transport: Engine):
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        response = await transport.handle_async_request(post(server.origin))
        assert [piece async for piece in response.stream] == [b"hello"]
        assert [piece async for piece in response.stream] == []
        await response.stream.aclose()
        assert transport.open == transport.idle
        assert server.live == 1


async def streams(peer: faulty.Peer):
    while await peer.request() is not None:
        await peer.send(faulty.chunked_head())
        for _ in range(3):
            await peer.send(faulty.chunk(b"data: 1\n\n"))
        await peer.send(faulty.chunk(b""))


async def read_within(transport: Engine, size: int, origin: str) -> None:
    response = await transport.handle_async_request(post(origin))
    try:
        async for _ in response.stream:
            assert transport.open <= size
    finally:
        await response.stream.aclose()


async def cancelled_after(turns: int, work, *, again_after: int) -> None:
    """Twice: a client hangs up while a deadline has just passed."""
    task = asyncio.get_running_loop().create_task(work)
    for pause in (turns, again_after):
        for _ in range(pause):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.no_cover
async def test_thousands_of_cancelled_requests_leave_the_pool_whole(engine: MakeEngine):
    size = 16
    chance = random.Random(7)
    transport = engine(UpstreamSettings(max_connections=size, pool_timeout=30.0))
    async with faulty.serving(streams) as server:

        def reading():
            return read_within(transport, size, server.origin)

        for _ in range(60):
            await asyncio.gather(
                *(
                    cancelled_after(
                        chance.randrange(60), reading(), again_after=chance.randrange(4)
                    )
                    for _ in range(50)
                )
            )
        assert transport.open == transport.idle <= size
        assert transport.waiting == 0
        await asyncio.gather(*(reading() for _ in range(200)))
        assert transport.open == transport.idle <= size
        await transport.aclose()
        await server.until_live(0)
