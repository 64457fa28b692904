"""
What signals do.

On the first SIGTERM or SIGINT the gateway says that it is not ready, takes requests for a moment
longer so that a load balancer can notice, then stops listening and waits. Requests that are still
on their way when the time to drain is over end with an error event; on a second signal at once.
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

LAST_BYTES = 2.0
"""Seconds in which clients must take what those requests that were cut have to say."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drainable(Protocol):
    """What is told of a shutdown."""

    def drain(self) -> None:
        """From now on say that no new requests should come."""
        ...

    def cut(self) -> None:
        """End the requests that are still on their way."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a shutdown waits, in seconds."""

    delay: float
    drain: float


class Shutdown:
    """
    What each signal does, and the timers between.

    `stop` ends the listening, `abort` the connections of clients that take nothing.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        abort: Callable[[], None],
        drainable: Drainable,
        patience: Patience,
    ) -> None:
        self._stop = stop
        self._abort = abort
        self._drainable = drainable
        self._patience = patience
        self._timers: list[asyncio.TimerHandle] = []
        self._signals = 0

    def listen_to_signals(self) -> None:
        """From now on the loop hears them."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled)

    def close(self) -> None:
        """Hear of nothing more, and let no timer fire."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        for timer in self._timers:
            timer.cancel()

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            self._stop()
            self._cut()
            return
        self._drainable.drain()
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(self._patience.delay, self._stop),
            loop.call_later(self._patience.delay + self._patience.drain, self._cut),
        ]

    def _cut(self) -> None:
        self._drainable.cut()
        self._timers.append(asyncio.get_running_loop().call_later(LAST_BYTES, self._abort))
