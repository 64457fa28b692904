"""
Notices a client that hangs up, while its request is being answered.

Hot: one task a request, which sleeps until the client is gone or the answer is out.
"""

import asyncio
from types import TracebackType

from starlette.types import Receive

from ..pipeline import ClientHungUp, Interrupt


class HangUpWatch:
    """Held around an answer; `receive` has given the whole body already."""

    __slots__ = ("_interrupt", "_receive", "_task")

    def __init__(self, receive: Receive, interrupt: Interrupt) -> None:
        self._receive = receive
        self._interrupt = interrupt

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # bytes that a client sends after its body
        self._interrupt(ClientHungUp())

    def __enter__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        del self._task  # its traceback leads back here, and a cycle waits for the collector
