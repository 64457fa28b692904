"""Row 4: who is not who it should be is not spoken to, and never in plain text instead."""

import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.contract.errors import ProviderGarbled, ProviderUnreachable
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Upstream, UpstreamSettings
from tests.gateway.upstream.engines import MakeEngine
from tests.support import faulty
from tests.system.faults.certificates import Authority

Chat = Callable[..., UpstreamRequest]
LONG_AGO = ("20200101000000Z", "20200102000000Z")
IN_FUTURE = ("20480101000000Z", "20490101000000Z")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("certificates")
    ours = Authority(folder)
    contexts = {
        "good": ours.vouch("good"),
        "for another name": ours.vouch("name", host="upstream.example"),
        "expired": ours.vouch("expired", first=LONG_AGO[0], last=LONG_AGO[1]),
        "not yet good": ours.vouch("early", first=IN_FUTURE[0], last=IN_FUTURE[1]),
        "of nobody we know": Authority(folder, "stranger").vouch("foreign"),
        "for clients": ours.vouch("client", use="clientAuth"),
    }
    _, contexts["self-signed"] = faulty.self_signed(folder)
    contexts["trusted"] = ssl.create_default_context(cafile=str(ours.file))
    return contexts


@pytest.fixture
async def trusting(
    engine: MakeEngine, contexts: dict[str, ssl.SSLContext]
) -> AsyncIterator[Upstream]:
    settings = UpstreamSettings()
    transport = engine(settings, context=contexts["trusted"])
    yield Upstream(transport, settings)
    assert transport.open == transport.idle
    await transport.aclose()


async def ask(upstream: Upstream, request: UpstreamRequest) -> bytes:
    async with upstream.send(request, public=False) as answer:
        return await answer.read(1000)


def assert_tls_error(failure: pytest.ExceptionInfo[ProviderUnreachable]) -> None:
    assert (failure.value.status, failure.value.code) == (502, "upstream_tls_error")


async def test_04_a_certificate_that_is_good_is_trusted(trusting: Upstream, chat: Chat, contexts):
    script = faulty.replying(faulty.response(b"hello"))
    async with faulty.serving(script, context=contexts["good"]) as server:
        assert await ask(trusting, chat(server.origin)) == b"hello"


@pytest.mark.parametrize(
    "name",
    [
        "for another name",
        "expired",
        "not yet good",
        "self-signed",
        "of nobody we know",
        "for clients",
    ],
)
async def test_04_a_certificate_that_is_not_good_is_a_tls_error_and_nothing_is_sent(
    trusting: Upstream, chat: Chat, contexts, name
):
    async with faulty.serving(faulty.hanging, context=contexts[name]) as server:
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(trusting, chat(server.origin))
        assert_tls_error(failure)
        await server.until_live(0)
        assert server.requests == []


@pytest.mark.parametrize(
    "greeting",
    [faulty.response(b"hello"), b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 64],
    ids=["http", "refusal", "ssh", "noise"],
)
async def test_04_a_server_without_tls_is_never_spoken_to_without_it(
    trusting: Upstream, chat: Chat, greeting
):
    heard = b""

    async def plain(peer: faulty.Peer):
        nonlocal heard
        heard += await peer.reader.read(65536)
        await peer.send(greeting)
        while more := await peer.reader.read(65536):
            heard += more

    async with faulty.serving(plain) as server:
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(trusting, chat(f"https://127.0.0.1:{server.port}"))
        assert_tls_error(failure)
        await server.until_live(0)
        assert server.accepted == 1
    assert heard
    assert b"POST" not in heard
    assert b"canary" not in heard


async def test_04_a_handshake_that_is_cut_is_an_upstream_that_can_not_be_reached(
    trusting: Upstream, chat: Chat
):
    async def goes(peer: faulty.Peer):
        await peer.reader.read(1)

    async with faulty.serving(goes) as server:
        with pytest.raises(ProviderUnreachable):
            await ask(trusting, chat(f"https://127.0.0.1:{server.port}"))


async def test_04_plain_http_to_a_server_that_speaks_tls_is_no_answer(
    trusting: Upstream, chat: Chat
):
    async def alerts(peer: faulty.Peer):  # as OpenSSL does
        await peer.request()
        await peer.send(b"\x15\x03\x01\x00\x02\x02\x46")
        await peer.gone()

    async with faulty.serving(alerts) as server:
        with pytest.raises(ProviderGarbled) as failure:
            await ask(trusting, chat(server.origin))
        assert failure.value.code == "upstream_protocol_error"
        await server.until_live(0)
