"""
What a client has not taken yet.

A client that is behind holds up its own answer and nothing else: the relay stops reading the
upstream, and no more than the transport's high-water mark and one piece waits. It may be slow, but
one that takes next to nothing is cut, since it holds a slot, an upstream connection and memory.
No timer runs for a client that keeps up.
"""

import asyncio

import structlog

from .bounds import Bounds

_log = structlog.stdlib.get_logger("lockgate.server")


class Backlog:
    """One connection's. Aborts it when its client takes too little."""

    __slots__ = ("_bounds", "_loop", "_timer", "_transport", "_unsent", "was_too_slow")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, bounds: Bounds
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._bounds = bounds
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self.was_too_slow = False

    def watch(self) -> None:
        """From now on the client must take what waits, if anything does."""
        if self._timer is None and (unsent := self._transport.get_write_buffer_size()):
            self._unsent = unsent
            self._timer = self._loop.call_later(self._bounds.write_timeout, self._look)

    def close(self) -> None:
        """The client has caught up, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        unsent = self._transport.get_write_buffer_size()
        if self._unsent - unsent >= max(1, self._bounds.min_rate * self._bounds.write_timeout):
            self.watch()
            return
        self.was_too_slow = True
        _log.info("client_too_slow", unsent=unsent)
        self._transport.abort()
