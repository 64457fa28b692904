"""
Begins a stream that has no content yet, and keeps it alive, for clients that hang up on silence.

It is a choice of the operator's, per model: once the status is out, a failure can only be an event,
and another status can no longer tell what kind it is. Until then nothing is sent, and after the
first content nothing is needed.

Hot: one task for the time without content.
"""

import asyncio
from types import TracebackType
from typing import Self

from .errors import Headers
from .relay import Relay


class Keepalive:
    """
    While the block runs: after so many seconds the stream begins, and a comment follows as often.

    Leaving the block waits until nothing is being sent any more.
    """

    __slots__ = ("_after", "_headers", "_relay", "_task")

    def __init__(self, relay: Relay, after: float, headers: Headers) -> None:
        self._relay = relay
        self._after = after
        self._headers = headers

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def _run(self) -> None:
        await asyncio.sleep(self._after)
        await self._relay.begin(self._headers)
        while True:
            await self._relay.comment()
            await asyncio.sleep(self._after)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task = self._task
        del self._task  # its traceback leads back here, and a cycle waits for the collector
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
