"""
One process of a race: `python -m tests.proofs.racer URL NUMBER TALLY`.

It makes attempts through the gateway's own limiter until its standard input ends, and adds each
to its place in the file TALLY. It may be killed at any instant.
"""

import asyncio
import mmap
import struct
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from gateway.contract.errors import LimitExceeded, LimitsUnavailable
from gateway.limits.limiter import Limiter
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import open_redis
from tests.proofs.contest import EDGE, EVENTS, LEASE, SWEEP, WINDOW, Event, ask

PLACE = struct.Struct("q")
SETTINGS = LimitsSettings(lease=LEASE, sweep=SWEEP, on_store_error="refuse")
DEADLINE = 0.5
"""Seconds until Redis must have answered, on a machine that others use."""


@dataclass
class Tally:
    """Attempts made, where the parent can read them even after this process was killed."""

    memory: mmap.mmap
    offset: int
    made: int = 0

    def add(self) -> None:
        self.made += 1
        PLACE.pack_into(self.memory, self.offset, self.made)


@dataclass
class Racer:
    """One task that competes under an event until it is told to stop."""

    limiter: Limiter
    event: Event
    name: str
    tally: Tally
    stop: asyncio.Event

    async def run(self) -> None:
        for number in count():
            if self.stop.is_set():
                return
            if self.event.bursts:
                await asyncio.sleep(until_edge())
            await self.attempt(f"{self.event.tenant}-{self.name}-{number}")

    async def attempt(self, request_id: str) -> None:
        event = self.event
        self.tally.add()
        try:
            held = await self.limiter.reserve(request_id, event.tenant, event.limits, ask(event))
        except LimitExceeded:
            return
        except LimitsUnavailable:
            await asyncio.sleep(0.02)
            return
        await asyncio.sleep(event.holds(request_id))
        await self.limiter.settle(held, event.used(request_id))


def until_edge() -> float:
    """Seconds until a burst begins, 0 during one."""
    length = WINDOW.bucket_ms * WINDOW.buckets
    into = time.time() * 1000 % length
    return 0.0 if min(into, length - into) < EDGE else (length - EDGE - into) / 1000


async def race(url: str, number: int, tally: Tally) -> None:
    """Until standard input ends."""
    stop = asyncio.Event()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with (
        open_redis(url, deadline=DEADLINE) as redis,
        RedisLimiter(redis, SETTINGS) as limiter,
        asyncio.TaskGroup() as tasks,
    ):
        for event in EVENTS.values():
            for place in range(event.racers):
                racer = Racer(limiter, event, f"{number}-{place}", tally, stop)
                tasks.create_task(racer.run())
        await reader.read()
        stop.set()


def main(url: str, number: str, file: str) -> None:
    """Run one process."""
    with Path(file).open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
        asyncio.run(race(url, int(number), Tally(memory, int(number) * PLACE.size)))


if __name__ == "__main__":
    main(*sys.argv[1:])
