"""
A race for limits: processes that compete on one Redis while some of them are killed, the scripts
are forgotten and the server itself is killed and started again.
"""

import asyncio
import mmap
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path
from random import Random

import redis

from gateway.limits.keys import shard_keys, shard_of, tenant_prefix
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import open_redis
from tests.proofs.contest import EVENTS, LEASE, LONG, STEADY, SWEEP
from tests.proofs.journal import transactions
from tests.proofs.racer import PLACE
from tests.proofs.referee import Budget, Referee, Window
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer

MOST = 256
"""Processes of one race, those that replace the killed ones included."""

PATIENCE = 30.0
"""Seconds that a racer may take to start or to end."""


@dataclass(frozen=True)
class Course:
    """How long a race is, and what happens on the way."""

    attempts: int
    processes: int = 4
    kills: int = 0
    restarts: int = 0
    empties: int = 0
    """Restarts of the server without its data."""
    flush_every: float = 0.25
    """Seconds between two times that the server forgets all scripts."""


SHORT = Course(attempts=20_000, kills=1, restarts=1)
EMPTIED = Course(attempts=100_000, empties=2)
FULL = Course(attempts=1_000_000, kills=40, restarts=3, flush_every=1.0)


def scaled(course: Course, attempts: int) -> Course:
    """The same with another number of attempts, and of kills in proportion."""
    part = attempts / course.attempts
    kills, restarts = round(course.kills * part), max(1, round(course.restarts * part))
    return replace(course, attempts=attempts, kills=kills, restarts=restarts)


@dataclass
class Outcome:
    """What a race has come to."""

    attempts: int
    seconds: float
    referee: Referee
    faults: list[str]
    utilisation: float
    kills: int = 0
    restarts: int = 0
    flushes: int = 0


@dataclass
class Field:
    """The racers that run, and what they have tallied."""

    url: str
    file: Path
    memory: mmap.mmap
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    started: int = 0

    @property
    def attempts(self) -> int:
        return sum(number for (number,) in PLACE.iter_unpack(self.memory[:]))

    def start(self) -> None:
        """One more racer."""
        command = [sys.executable, "-m", "tests.proofs.racer", self.url, str(self.started)]
        self.running.append(
            subprocess.Popen([*command, str(self.file)], stdin=subprocess.PIPE, cwd=ROOT)
        )
        self.started += 1

    def kill(self, chance: Random) -> None:
        """End one as a crash would, and start another in its place."""
        dead = self.running.pop(chance.randrange(len(self.running)))
        dead.kill()
        dead.wait()
        assert dead.stdin is not None
        dead.stdin.close()
        self.start()

    def finish(self) -> None:
        """Tell all to stop, and see that they ended as they should."""
        for each in self.running:
            assert each.stdin is not None
            each.stdin.close()
        for each in self.running:
            assert each.wait(PATIENCE) == 0, "a racer has failed"
        self.running.clear()


@contextmanager
def field_of(url: str, folder: Path) -> Iterator[Field]:
    """A field whose racers are gone when the block is left."""
    file = folder / "tally"
    file.write_bytes(bytes(MOST * PLACE.size))
    with ExitStack() as stack:
        opened = stack.enter_context(file.open("r+b"))
        racers = Field(url, file, stack.enter_context(mmap.mmap(opened.fileno(), 0)))
        try:
            yield racers
        finally:
            for each in racers.running:
                each.kill()
                each.wait()
                assert each.stdin is not None
                each.stdin.close()


def run(course: Course, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Race, wait until everything is settled or expired, and count."""
    server = RedisServer("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
    with tempfile.TemporaryDirectory(prefix="lg-race-") as folder, server:
        with field_of(server.url, Path(folder)) as racers:
            began = time.monotonic()
            referee = Referee(EVENTS.values())
            events = Chaos(course, Random(seed), server, racers, referee, say).run()
            seconds = time.monotonic() - began
            racers.finish()
            attempts = racers.attempts
        asyncio.run(_let_leases_end(server.url))
        say("counting")
        for transaction in transactions(server.directory):
            referee.read(transaction)
        with redis.Redis.from_url(server.url, decode_responses=True) as raw:
            faults = list(_stored_faults(raw, referee))
    outages, flushes = events
    used = _utilisation(referee.sheets[STEADY.tenant].admissions, outages)
    return Outcome(attempts, seconds, referee, faults, used, course.kills, course.restarts, flushes)


class Chaos:
    """What happens while they race: kills, restarts and forgotten scripts, by seed and attempts."""

    def __init__(
        self,
        course: Course,
        chance: Random,
        server: RedisServer,
        racers: Field,
        referee: Referee,
        say: Callable[[str], None],
    ) -> None:
        self._course = course
        self._chance = chance
        self._server = server
        self._racers = racers
        self._referee = referee
        self._say = say
        self._due = sorted(
            [(self._when(), self._kill) for _ in range(course.kills)]
            + [(self._when(), self._restart) for _ in range(course.restarts)]
            + [(self._when(), self._empty) for _ in range(course.empties)],
            key=lambda each: each[0],
        )
        self._outages: list[tuple[int, int]] = []

    def run(self) -> tuple[list[tuple[int, int]], int]:
        """When the server was away (ms since 1970), and how often it forgot the scripts."""
        for _ in range(self._course.processes):
            self._racers.start()
        told = flushes = 0
        flush_at = time.monotonic()
        while (made := self._racers.attempts) < self._course.attempts:
            while self._due and self._due[0][0] <= made:
                self._due.pop(0)[1]()
            if time.monotonic() >= flush_at:
                flushes += 1
                flush_at = time.monotonic() + self._course.flush_every
                with redis.Redis.from_url(self._server.url) as raw:
                    raw.script_flush()
            if made - told >= 50_000:
                told = made
                self._say(f"{made:,} attempts")
            time.sleep(0.02)
        return self._outages, flushes

    def _when(self) -> int:
        return round(self._course.attempts * self._chance.uniform(0.1, 0.9))

    def _kill(self) -> None:
        self._say("SIGKILL of a racer")
        self._racers.kill(self._chance)

    def _restart(self) -> None:
        self._say("SIGKILL of Redis, and a start on its own data")
        began = _now_ms()
        self._server.kill()
        self._start(began)

    def _empty(self) -> None:
        self._say("SIGKILL of Redis, and a start without data")
        began = _now_ms()
        self._server.kill()
        for transaction in transactions(self._server.directory):
            self._referee.read(transaction)
        shutil.rmtree(self._server.directory / "appendonlydir")
        self._start(began)

    def _start(self, began: int) -> None:
        self._server.start()
        with redis.Redis.from_url(self._server.url) as raw:
            while not _answers(raw):
                time.sleep(0.005)
        self._outages.append((began, _now_ms()))


def _answers(raw: redis.Redis) -> bool:
    """Whether it has loaded what it had stored."""
    try:
        raw.get("any")
    except redis.BusyLoadingError:
        return False
    return True


async def _let_leases_end(url: str) -> None:
    """Another gateway sweeps what the killed ones have left."""
    settings = LimitsSettings(lease=LEASE, sweep=SWEEP)
    async with (
        open_redis(url, deadline=5) as client,
        await asyncio.to_thread(RedisLimiter, client, settings),
    ):
        await asyncio.sleep(LEASE + 2 * SWEEP)


def _stored_faults(raw: redis.Redis, referee: Referee) -> Iterator[str]:
    """Where what Redis has stored is not what the requests amount to (Q5), now that all ended."""
    for sheet in referee.sheets.values():
        tenant = sheet.event.tenant
        prefix = tenant_prefix(tenant, shard_of(tenant))
        stored, leases, _ = shard_keys(shard_of(tenant))[:3]
        if raw.hlen(stored) or raw.zcard(leases):
            yield f"{tenant}: reservations are left"
        for count in sheet.counts:
            key = prefix + count.limit.name
            if isinstance(count, Budget):
                yield from _budget_faults(key, raw.hgetall(key), count)
            elif isinstance(count, Window):
                yield from _window_faults(key, raw.hgetall(key))
            elif raw.zcard(key):
                yield f"{key}: places are left"


def _budget_faults(key: str, stored: dict[str, str], count: Budget) -> Iterator[str]:
    settled = sum(int(value) for name, value in stored.items() if name[:1] == "s")
    reserved = sum(int(value) for name, value in stored.items() if name[:1] == "r")
    told = count.settled.total()
    if (settled, reserved) != (told, 0):
        yield f"{key}: {settled} settled and {reserved} reserved instead of {told} and 0"


def _window_faults(key: str, stored: dict[str, str]) -> Iterator[str]:
    buckets = [int(value) for name, value in stored.items() if name.isdigit()]
    if stored and sum(buckets) != int(stored["s"]):
        yield f"{key}: buckets of {sum(buckets)} and a sum of {stored['s']}"


def _utilisation(admissions: list[int], outages: list[tuple[int, int]]) -> float:
    """
    The part of the limit that a saturating tenant was given, while the server answered.

    By how long it took to be given whole limits; each stretch between outages begins a window
    after the server was back. Not a number where that is too short to tell.
    """
    amount, length = STEADY.limits[0].amount, LONG.bucket_ms * LONG.buckets
    starts = [admissions[0], *(end + length for _, end in outages)]
    ends = [*(begin for begin, _ in outages), admissions[-1]]
    time_ms = taken = 0
    for start, end in zip(starts, ends, strict=True):
        given = [at for at in admissions if start <= at < end]
        whole = (len(given) - 1) // amount * amount
        if whole > 0:
            taken += whole
            time_ms += given[whole] - given[0]
    return taken / (amount * time_ms / length) if time_ms else nan


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
