"""
Plays one answer to one client: waits, writes, counts.

Tokens are counted when they are made, so those of a client that left are counted up to that
moment and no further.
"""

import asyncio
from collections.abc import Callable

from .exchange import Exchange
from .link import Link
from .pace import Pace
from .script import Pause, Sever, Step
from .state import Counts

_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class Run:
    """One answer under way."""

    def __init__(
        self, pace: Pace, counts: Counts, arrived: float, clock: Callable[[], float]
    ) -> None:
        self.pace = pace
        self.severed = False
        self._counts = counts
        self._clock = clock
        self._arrived = arrived
        self._last = 0.0

    async def wait(self, link: Link, seconds: float) -> None:
        """Let time pass, if there is any to pass. Raises `HungUp`."""
        if seconds > 0:
            await link.pause(seconds)

    def wrote(self, tokens: int) -> None:
        """Count tokens at the moment they are made."""
        now = self._clock()
        if self._last:
            self._counts.between_tokens.add(now - self._last)
        else:
            self._counts.first_token.add(now - self._arrived)
        self._last = now
        self._counts.completion_tokens += tokens

    async def write_all(self, link: Link, tokens: int) -> None:
        """Make the tokens of an answer that is no stream. Raises `HungUp`."""
        if not self.pace.limited:
            self.wrote(tokens)
            return
        for _ in range(tokens):
            await self.wait(link, self.pace.next(1))
            self.wrote(1)

    async def sever(self, link: Link, *, by_reset: bool) -> None:
        """End the connection. Raises `HungUp`, always."""
        self.severed = True
        if by_reset:
            await link.reset()
        await link.close()


class Player:
    """Plays the steps of a stream; `burst` events share one write."""

    def __init__(self, exchange: Exchange, run: Run, burst: int) -> None:
        self._exchange = exchange
        self._run = run
        self._burst = burst
        self._held: list[bytes] = []
        self._started = False

    async def start(self) -> None:
        """The status line, once."""
        if not self._started:
            self._started = True
            await self._exchange.start(200, _STREAM)

    async def play(self, step: Step) -> None:
        """One step. Raises `HungUp`."""
        if not isinstance(step, tuple):
            await self._break(step)
            return
        raw, tokens = step
        if tokens:
            if self._run.pace.limited:
                await self._run.wait(self._exchange.link, self._run.pace.next(tokens))
            self._run.wrote(tokens)
        self._held.append(raw)
        if len(self._held) >= self._burst:
            await self._flush()
            if not self._run.pace.limited:
                await asyncio.sleep(0)  # what is written leaves before the next is made

    async def end(self) -> None:
        """The end of the body."""
        await self._flush()
        await self._exchange.end()

    async def _flush(self) -> None:
        if self._held:
            await self.start()
            await self._exchange.write(b"".join(self._held))
            self._held.clear()

    async def _break(self, step: Pause | Sever) -> None:
        await self._flush()
        match step:
            case Pause(seconds):
                await self._exchange.link.pause(seconds)
            case Sever(by_reset):
                await self._run.sever(self._exchange.link, by_reset=by_reset)
