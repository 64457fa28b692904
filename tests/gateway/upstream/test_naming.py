from collections.abc import Callable

import httpx
import pytest

from gateway.contract.errors import (
    ProviderBlocked,
    ProviderBusy,
    ProviderDisconnected,
    ProviderGarbled,
    ProviderTimedOut,
    ProviderUnreachable,
)
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Upstream, UpstreamSettings
from gateway.upstream.dialler import AddressBlocked

Chat = Callable[..., UpstreamRequest]


async def stream(upstream: Upstream, request: UpstreamRequest, into: list[bytes]) -> None:
    async with upstream.send(request, public=False) as answer:
        async for piece in answer:
            into.append(piece)  # noqa: PERF401 - what came before a failure counts


@pytest.mark.parametrize(
    ("raised", "named", "code"),
    [
        (httpx.ConnectError("x"), ProviderUnreachable, "no_healthy_upstream"),
        (httpx.ConnectTimeout("x"), ProviderUnreachable, "no_healthy_upstream"),
        (httpx.PoolTimeout("x"), ProviderBusy, "no_healthy_upstream"),
        (AddressBlocked("x"), ProviderBlocked, "upstream_blocked_address"),
        (httpx.LocalProtocolError("x"), ProviderUnreachable, "no_healthy_upstream"),
        (httpx.ReadTimeout("x"), ProviderTimedOut, "upstream_timeout"),
        (httpx.WriteTimeout("x"), ProviderTimedOut, "upstream_timeout"),
        (httpx.ReadError("x"), ProviderDisconnected, "upstream_disconnected"),
        (httpx.WriteError("x"), ProviderDisconnected, "upstream_disconnected"),
        (httpx.CloseError("x"), ProviderDisconnected, "upstream_disconnected"),
        (httpx.RemoteProtocolError("x"), ProviderGarbled, "upstream_protocol_error"),
    ],
)
async def test_every_transport_error_has_a_name_on_sending_and_on_reading(
    chat: Chat, raised, named, code
):
    class Breaking(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"data: 1\n\n"
            raise raised

    def refuses(request: httpx.Request) -> httpx.Response:
        raise raised

    def breaks(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Breaking())

    for handler in (refuses, breaks):
        upstream = Upstream(httpx.MockTransport(handler), UpstreamSettings())
        with pytest.raises(named) as failure:
            await stream(upstream, chat("http://a"), [])
        assert type(failure.value) is named
        assert failure.value.code == code
