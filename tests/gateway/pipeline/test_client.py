"""What the gateway's own server tells of a client is found under the names that all go by."""

import asyncio

from starlette.types import Receive, Scope, Send

from gateway.pipeline import BODY, ON_HANG_UP
from tests.support.wire import Wire


async def test_the_own_server_tells_both_of_a_request() -> None:
    bodies: list[bytes | None] = []
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(scope["state"][BODY]())
        scope["state"][ON_HANG_UP](gone.set)
        await gone.wait()

    wire = Wire(app)
    wire.say(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
    await asyncio.sleep(0.01)
    wire.leave()
    await asyncio.wait_for(gone.wait(), 10)
    await wire.settled()

    assert bodies == [b"hello"]
