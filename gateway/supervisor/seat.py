"""
A place for a worker, which is filled again whenever its worker ends.

Whoever ends soon after its start comes back later each time, so that a fault which ends every
worker at once does not become a load of its own.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Protocol

from .channel import Handler, Json
from .sums import Family
from .worker import Command, Worker, started

FIRST_WAIT = 0.1
LONGEST_WAIT = 10.0
"""Seconds before a worker is replaced: twice as long each time, less a random part."""
STEADY = 10.0
"""Seconds after which a worker counts as one that works."""


class Office(Protocol):
    """What the seats share."""

    stopping: asyncio.Event
    """Set when workers that end are to be replaced no more."""

    @property
    def source(self) -> Json | None:
        """The configuration that all have, None before the first has read one."""
        ...

    async def may_start(self) -> None:
        """Wait while none may be started."""
        ...

    def handlers(self, seat: "Seat") -> dict[str, Handler]:
        """What the worker of that seat may ask."""
        ...

    def left(self, counted: Sequence[Family], code: int) -> None:
        """Hear that a worker has ended, and what it was last known to have counted."""
        ...


@dataclass(frozen=True, slots=True)
class Chances:
    """A clock in steady seconds, and what waits are drawn from."""

    clock: Callable[[], float]
    chance: Random


class Seat:
    """
    The seat of that number. `begun` is done when its first worker is ready (None), or has ended
    before it ever was (its exit code).
    """

    def __init__(self, number: int, command: Command, office: Office, chances: Chances) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.is_starting = False
        self.is_ready = False
        self.restarts = 0
        self.begun: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._command = command
        self._office = office
        self._chances = chances
        self._failures = 0

    def ready(self) -> None:
        """Its worker takes requests."""
        self.is_starting, self.is_ready = False, True
        if not self.begun.done():
            self.begun.set_result(None)

    async def keep(self) -> None:
        """Keep it filled, until the office stops or its first worker can not start."""
        stopping = self._office.stopping
        while not stopping.is_set():
            await self._office.may_start()
            if stopping.is_set():
                break
            self.is_starting = True
            began = self._chances.clock()
            code = await self._fill()
            if not self.begun.done():
                self.begun.set_result(code)
                return
            if not stopping.is_set():
                await self._pause(code, self._chances.clock() - began)
        if not self.begun.done():
            self.begun.set_result(0)

    async def _fill(self) -> int:
        """A worker from its start to its end; its exit code, 1 where there was no room for it."""
        office = self._office
        try:
            async with started(self._command, office.source, office.handlers(self)) as worker:
                self.worker = worker
                if office.stopping.is_set():  # while it was being started
                    worker.tell(signal.SIGTERM)
                code = await worker.ended()
                self._left(worker.families, code)
                return code
        except OSError as error:
            say(f"worker {self.number} can't be started: {error.strerror}")
            self._left([], 1)
            return 1

    def _left(self, counted: Sequence[Family], code: int) -> None:
        self.worker = None
        self.is_starting = self.is_ready = False
        self._office.left(counted, code)

    async def _pause(self, code: int, lasted: float) -> None:
        self.restarts += 1
        self._failures = 1 if lasted >= STEADY else self._failures + 1
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures, 16))
        wait = longest * (0.5 + self._chances.chance.random() / 2)
        what = f"worker {self.number} ended ({_told(code)})"
        say(f"{what}; another starts in {wait:.1f} s")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._office.stopping.wait(), wait)


def say(line: str) -> None:
    """Tell whoever reads standard error, if anybody does."""
    with suppress(OSError):
        sys.stderr.write(f"lockgate: {line}\n")
        sys.stderr.flush()


def _told(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
