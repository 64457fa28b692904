"""
A relay and nothing else: plain ASGI on uvicorn, and the gateway's own upstream engine.

What the gateway costs beyond this is the price of its features; what this costs is the price of
Python, uvicorn and the engine. Takes the upstream's URL as its argument, and the port to listen
on if it is not to be any; prints its own URL.
"""

import asyncio
import sys

import uvloop
from starlette.types import Receive, Scope, Send

from gateway.contract.provider import UpstreamRequest
from gateway.server import Listener, Patience, bind, serve_listeners
from gateway.upstream import RelayTransport, Upstream, UpstreamSettings

_HEADERS = ((b"content-type", b"application/json"),)


class Bare:
    """An ASGI application that sends every request on, and what comes back, unread."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        settings = UpstreamSettings()
        self._upstream = Upstream(RelayTransport(settings), settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = await _read(receive)
        request = UpstreamRequest(self._base_url + scope["path"], _HEADERS, body)
        async with self._upstream.send(request, public=False) as answer:
            headers = [
                (name.encode(), value.encode())
                for name, value in answer.headers.items()
                if name in ("content-type", "content-length")
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for chunk in answer:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def drain(self) -> None:
        """Nothing announces itself here."""

    def cut(self) -> None:
        """Requests end with the process."""

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._upstream.aclose()
        await send({"type": "lifespan.shutdown.complete"})


async def _read(receive: Receive) -> bytes:
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


def main(base_url: str, port: str = "0") -> None:
    """Serve until a signal comes, on the server that the gateway uses."""
    bare = Bare(base_url)
    listener = Listener(bare, bind("127.0.0.1", int(port)))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            serve_listeners(
                [listener],
                bare,
                Patience(delay=0, drain=1),
                ready=lambda: print(listener.url, flush=True),
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
