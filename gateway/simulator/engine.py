"""
Answers requests: a place, a pace, a fault, and the count of all three.

Work stops at the moment the client leaves: the place is free, the tokens sent until then stay
counted, and the request is one more `aborted`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from .chat import Event
from .exchange import JSON, Exchange
from .faults import Fault
from .link import HungUp
from .pace import Pace
from .places import Places
from .play import Player, Run
from .script import script, spoiled
from .settings import SimulatorSettings
from .state import Counts, State


class Reply(Protocol):
    """An answer that is settled and not yet sent."""

    @property
    def model(self) -> str: ...
    @property
    def streamed(self) -> bool: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def finishes(self) -> Sequence[str]: ...
    def whole(self) -> bytes: ...
    def events(self) -> Iterator[Event]: ...
    def aborted(self, after: int) -> Self: ...


class Engine:
    """Answers requests, as many at once as there are places."""

    def __init__(
        self,
        settings: SimulatorSettings,
        state: State,
        *,
        chances: Iterator[float],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._state = state
        self._chances = chances
        self._clock = clock
        self._places = Places(settings.max_running)

    async def answer(self, exchange: Exchange, reply: Reply, fault: Fault | None) -> None:
        """
        Send `reply`, deformed by `fault`.

        Raises:
            HungUp: the connection ended before the answer did, by the client or by the fault.
        """
        counts = self._state.models[reply.model]
        arrived = self._clock()
        await self._wait_for_a_place(exchange, counts)
        counts.queued.add(self._clock() - arrived)
        counts.running += 1
        counts.prompt_tokens += reply.prompt_tokens
        run = Run(self._pace(reply), counts, arrived, self._clock)
        if fault is not None and fault.kind == "abort":
            reply = reply.aborted(fault.after)
        try:
            send = self._stream if reply.streamed else self._whole
            await send(exchange, reply, run, fault)
            counts.finished.update(reply.finishes)
        except HungUp:
            if not run.severed:
                self._state.aborted += 1
                counts.finished["abort"] += 1
            raise
        finally:
            counts.running -= 1
            counts.whole.add(self._clock() - arrived)
            self._places.give()

    async def _wait_for_a_place(self, exchange: Exchange, counts: Counts) -> None:
        counts.waiting += 1
        try:
            await self._places.take(exchange.link)
        except HungUp:
            self._state.aborted += 1
            raise
        finally:
            counts.waiting -= 1

    def _pace(self, reply: Reply) -> Pace:
        return Pace(
            self._settings,
            choices=len(reply.finishes),
            chances=self._chances,
            clock=self._clock,
        )

    async def _stream(
        self, exchange: Exchange, reply: Reply, run: Run, fault: Fault | None
    ) -> None:
        burst = 1 if run.pace.limited else self._settings.burst
        player = Player(exchange, run, burst)
        if fault is None or not fault.silent:
            await player.start()
        await run.wait(exchange.link, run.pace.first())
        for step in script(reply.events(), fault):
            await player.play(step)
        await player.end()

    async def _whole(self, exchange: Exchange, reply: Reply, run: Run, fault: Fault | None) -> None:
        await run.wait(exchange.link, run.pace.first())
        await run.write_all(exchange.link, reply.completion_tokens)
        body = reply.whole()
        if fault is not None:
            body = spoiled(body, fault)
            await self._interrupt(exchange, body, run, fault)
        await exchange.whole(200, body)

    async def _interrupt(self, exchange: Exchange, body: bytes, run: Run, fault: Fault) -> None:
        if fault.mid_event:
            length = b"%d" % len(body)
            await exchange.start(200, ((b"content-type", JSON), (b"content-length", length)))
            await exchange.write(body[: len(body) // 2])
        if fault.kind in ("delay", "stall"):
            await exchange.link.pause(fault.seconds if fault.kind == "delay" else None)
        if fault.kind in ("cut", "reset"):
            await run.sever(exchange.link, by_reset=fault.kind == "reset")
