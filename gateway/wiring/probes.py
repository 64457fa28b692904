"""
A probe as a request: a GET of the path that a provider's kind or its settings name.

A server that answers 2xx is well, one that can't be reached or answers 5xx is not. Any other answer
says nothing of how it is: the path is wrong, or is not for us.
"""

import httpx

from ..contract.provider import AnyProvider
from ..health.probes import Ask

MOST = 64 * 1024
"""Bytes of an answer that are read so that its connection can be used again."""


def asking(transport: httpx.AsyncBaseTransport) -> Ask:
    """Probes that are sent over this transport; whoever calls bounds their time."""

    async def ask(provider: AnyProvider) -> bool | None:
        try:
            response = await transport.handle_async_request(_request(provider))
            await _read(response)
        except httpx.PoolTimeout:  # all connections are in use, which is no fault of the upstream's
            return None
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        if response.is_success:
            return True
        return False if response.is_server_error else None

    return ask


def _request(provider: AnyProvider) -> httpx.Request:
    settings = provider.settings
    path = (settings.probe and settings.probe.path) or provider.health_path
    headers = ((b"accept-encoding", b"identity"), *provider.probe_headers())
    extensions = {"public": provider.is_public}
    url = f"{settings.base_url}{path}"
    return httpx.Request("GET", url, headers=headers, extensions=extensions)


async def _read(response: httpx.Response) -> None:
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    size = 0
    try:
        async for piece in stream:
            size += len(piece)
            if size > MOST:
                return
    finally:
        await stream.aclose()
