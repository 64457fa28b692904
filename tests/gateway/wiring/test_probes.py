"""What a probe sends, and what it makes of the answer."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from gateway.contract.provider import AnyProvider
from gateway.upstream import RelayTransport
from gateway.upstream.transport import UpstreamSettings
from gateway.wiring.probes import MOST, asking
from providers.openai import OpenAI
from providers.vllm import VLLM
from tests.support.faulty import refusing_port
from tests.support.simulator import running_simulator

Answers = Callable[[httpx.Request], httpx.Response]


def provider(kind: type[AnyProvider] = VLLM, **settings: Any) -> AnyProvider:
    given = {"kind": "k", "base_url": "http://p.test/v1", "probe": {}, **settings}
    return kind("p", kind.Settings.model_validate(given))


async def asked(answers: Answers, **settings: Any) -> bool | None:
    return await asking(httpx.MockTransport(answers))(provider(**settings))


@pytest.mark.parametrize(
    ("status", "means"),
    [(200, True), (204, True), (301, None), (401, None), (404, None), (429, None), (503, False)],
)
async def test_a_status_says_that_all_is_well_that_it_is_not_or_nothing(
    status: int, means: bool | None
) -> None:
    assert await asked(lambda _: httpx.Response(status)) is means


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("no connection"), False),
        (httpx.ReadError("reset"), False),
        (httpx.RemoteProtocolError("not HTTP"), False),
        (httpx.PoolTimeout("all in use"), None),
    ],
)
async def test_no_answer_is_a_failure_unless_it_is_our_own(
    error: Exception, means: bool | None
) -> None:
    def answers(_: httpx.Request) -> httpx.Response:
        raise error

    assert await asked(answers) is means


@pytest.mark.parametrize(
    ("kind", "probe", "url"),
    [
        (VLLM, {}, "http://p.test/health"),
        (OpenAI, {}, "http://p.test/v1/models"),
        (VLLM, {"path": "/ping?deep=1"}, "http://p.test/ping?deep=1"),
    ],
)
async def test_the_kinds_own_path_is_asked_unless_another_is_named(
    kind: type[AnyProvider], probe: dict[str, str], url: str
) -> None:
    seen: list[httpx.Request] = []

    def answers(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    assert await asking(httpx.MockTransport(answers))(provider(kind, probe=probe, api_key="k-1"))
    (request,) = seen
    assert (request.method, str(request.url)) == ("GET", url)
    assert request.headers["authorization"] == "Bearer k-1"


async def test_without_a_credential_none_is_sent() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        return httpx.Response(200)

    assert await asked(answers)


class Endless(httpx.AsyncByteStream):
    def __init__(self) -> None:
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.read += 1024
            yield b"x" * 1024

    async def aclose(self) -> None:
        self.closed = True


async def test_of_a_long_answer_a_part_is_read_and_the_connection_is_freed() -> None:
    body = Endless()

    assert await asked(lambda _: httpx.Response(200, stream=body))
    assert body.closed
    assert MOST <= body.read <= 2 * MOST


async def test_a_real_server_is_asked_over_a_connection_that_is_kept() -> None:
    transport = RelayTransport(UpstreamSettings())
    ask = asking(transport)
    try:
        async with running_simulator() as sim:
            here = provider(base_url=sim.url)
            assert await ask(here)
            assert await ask(here)
            assert (transport.open, transport.idle) == (1, 1)
            sim.faults({"kind": "status", "status": 503, "path": "/health"})
            assert await ask(here) is False
            sim.faults({"kind": "refuse", "path": "/health"})
            assert await ask(here) is False
        assert await ask(provider(base_url=f"http://127.0.0.1:{refusing_port()}")) is False
    finally:
        await transport.aclose()


@pytest.mark.parametrize(("kind", "public"), [(VLLM, False), (OpenAI, True)])
async def test_03_a_probe_says_whether_its_host_must_have_public_addresses(
    kind: type[AnyProvider], *, public: bool
) -> None:
    seen: list[httpx.Request] = []

    def answers(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    await asking(httpx.MockTransport(answers))(provider(kind, base_url="https://p.example.com"))

    assert [each.extensions["public"] for each in seen] == [public]
