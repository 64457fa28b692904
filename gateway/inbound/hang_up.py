"""
Notices a client that hangs up, while its request is being answered.

The gateway's own server says so at once. Under any other, a task waits for the message that ASGI
has for it.

Hot: once a request; under the gateway's own server two assignments.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from starlette.types import Receive, Scope

from ..pipeline import ON_HANG_UP, ClientHungUp, Interrupt

Tell = Callable[[Callable[[], None] | None], None]
"""Says whom to call when the client is gone."""


def watch(scope: Scope, receive: Receive, interrupt: Interrupt) -> AbstractContextManager[None]:
    """While the block runs, a hang-up is an interrupt. `receive` has given the whole body."""
    tell = scope.get("state", {}).get(ON_HANG_UP)
    return _Waiting(receive, interrupt) if tell is None else _Told(tell, interrupt)


class _Told(AbstractContextManager[None]):
    """The server calls."""

    __slots__ = ("_interrupt", "_tell")

    def __init__(self, tell: Tell, interrupt: Interrupt) -> None:
        self._tell = tell
        self._interrupt = interrupt

    def __enter__(self) -> None:
        self._tell(self._hung_up)

    def _hung_up(self) -> None:
        self._interrupt(ClientHungUp())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tell(None)


class _Waiting(AbstractContextManager[None]):
    """A task asks."""

    __slots__ = ("_interrupt", "_receive", "_task")

    def __init__(self, receive: Receive, interrupt: Interrupt) -> None:
        self._receive = receive
        self._interrupt = interrupt

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # bytes that a client sends after its body
        self._interrupt(ClientHungUp())

    def __enter__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        del self._task  # its traceback leads back here, and a cycle waits for the collector
