"""
The parent of the workers: starts them, tells them what it is told, and speaks for all of them.

The first worker starts alone, so that what can't be started is told once; what it has read is the
configuration of all, of those too that take another's place. SIGTERM and SIGINT go on to every
worker, over its channel: the first drains, the second cuts, and ends who does not hear of it.
SIGHUP reloads all of them or none.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .channel import Handler, Json, Refused
from .seat import Chances, Seat, say
from .sums import Family, Sums
from .wellbeing import Wellbeing
from .worker import Command, Worker

STAGE = 30.0
"""Seconds in which a worker has read a configuration: files may change for some of them."""
COMMIT = 10.0
"""Seconds in which a worker has taken it over."""
CUT = 60.0
"""Seconds in which a worker has ended that was told to cut: clients and stores are bounded."""
COME_UP = 60.0
"""Seconds that a reload waits for workers that are just starting."""


@dataclass
class _Counts:
    reloads: int = 0
    failures: int = 0


class Supervisor:
    """Of so many workers. `announce` is called when all of them are ready for the first time."""

    def __init__(
        self, count: int, command: Command, chances: Chances, announce: Callable[[], None]
    ) -> None:
        self.stopping = asyncio.Event()
        self.source: Json | None = None
        self._command = command
        self._announce = announce
        self._seats = [Seat(number, command, self, chances) for number in range(1, count + 1)]
        self._sums = Sums()
        self._counts = _Counts()
        self._wellbeing = Wellbeing(chances.clock)
        self._one_at_a_time = asyncio.Lock()
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._moved = asyncio.Event()
        self._code = 0
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> int:
        """
        Until all have ended: 0, or the exit code of one that could not start, or did not stop as
        it should.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._tasks:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop)
            loop.add_signal_handler(signal.SIGHUP, self._begin, self._hang_up)
            code = await self._start(self._seats[:1]) or await self._start(self._seats[1:])
            if code:
                self._stop()
            elif not self.stopping.is_set():
                self._announce()
        return code or self._code

    async def may_start(self) -> None:
        """Wait while a reload is on its way."""
        await self._may_start.wait()

    def handlers(self, seat: Seat) -> dict[str, Handler]:
        """What a worker may ask."""

        async def started(told: Json) -> None:
            if self.source is None:
                self.source = told["source"]
            seat.ready()
            self._moved.set()

        return {
            "started": started,
            "metrics": self._metrics,
            "health": self._health,
            "ready": self._ready,
            "reload": self._reload,
        }

    def left(self, counted: Sequence[Family], code: int) -> None:
        """A worker has ended: what it had counted is kept."""
        self._sums.ended(counted)
        self._moved.set()
        if self.stopping.is_set() and code not in {0, -signal.SIGTERM}:
            self._code = 1

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._tasks is not None, "nothing begins before `run`"
        self._tasks.create_task(work())

    async def _start(self, seats: Sequence[Seat]) -> int:
        """Fill these seats; the exit code of one that can't be filled, else 0."""
        for seat in seats:
            self._begin(seat.keep)
        codes = await asyncio.gather(*(seat.begun for seat in seats))
        # One that a signal has ended before it was ready has done what it was told to.
        found = [code for code in codes if code]
        return 0 if self.stopping.is_set() or not found else (found[0] if found[0] > 0 else 1)

    def _stop(self) -> None:
        is_again = self.stopping.is_set()
        self.stopping.set()
        self._may_start.set()
        for each in self._command.sockets:
            each.close()  # the workers have theirs, until each has drained
        for seat in self._seats:
            if seat.worker is not None and seat.is_ready:
                self._begin(partial(self._stop_ready, seat.worker, at_once=is_again))
            elif seat.worker is not None:
                seat.worker.tell(signal.SIGTERM)

    async def _stop_ready(self, worker: Worker, *, at_once: bool) -> None:
        try:
            answer = await worker.ask("stop", at_once=at_once)
        except Refused:
            answer = None
        if answer is None:
            worker.tell(signal.SIGTERM)
        if at_once:
            await self._end(worker)

    async def _end(self, worker: Worker) -> None:
        """See to it that it ends: one whose loop stands still hears nothing."""
        try:
            async with asyncio.timeout(CUT):
                await worker.ended()
        except TimeoutError:
            worker.tell(signal.SIGKILL)

    def _taking_requests(self) -> list[Worker]:
        return [seat.worker for seat in self._seats if seat.worker is not None and seat.is_ready]

    # What workers ask for those who ask them

    async def _metrics(self, _: Json) -> Json:
        asked = self._taking_requests()
        await asyncio.gather(*(worker.counted() for worker in asked))
        workers = self._taking_requests()  # one that has ended meanwhile is in the sums already
        families = [worker.families for worker in asked if worker in workers]
        own = {
            "lockgate_workers": float(len(workers)),
            "lockgate_worker_restarts_total": float(sum(each.restarts for each in self._seats)),
            "lockgate_config_reloads_total": float(self._counts.reloads),
            "lockgate_config_reload_failures_total": float(self._counts.failures),
        }
        return {"families": self._sums.of(families, own)}

    async def _health(self, _: Json) -> Json:
        return self._wellbeing.health(await self._told_by_all("health"))

    async def _ready(self, _: Json) -> Json:
        if self.stopping.is_set():
            return {"ready": False, "message": "draining"}
        return self._wellbeing.ready(await self._told_by_all("ready"))

    async def _told_by_all(self, question: str) -> dict[int, Json | None]:
        """By number what each worker says, None where there is none that answers."""

        async def told(seat: Seat) -> Json | None:
            if seat.worker is None or not seat.is_ready:
                return None
            try:
                return await seat.worker.ask(question)
            except Refused:
                return None

        answers = await asyncio.gather(*map(told, self._seats))
        return {seat.number: answer for seat, answer in zip(self._seats, answers, strict=True)}

    # Reloads

    async def _hang_up(self) -> None:
        try:
            await self._reload({})
        except Refused as refused:
            for reason in refused.reasons:
                say(reason)

    async def _reload(self, _: Json) -> Json:
        async with self._one_at_a_time:
            self._may_start.clear()
            try:
                await self._nobody_starts()
                return await self._reload_all(self._taking_requests())
            except Refused:
                self._counts.failures += 1
                raise
            finally:
                self._may_start.set()

    async def _nobody_starts(self) -> None:
        try:
            async with asyncio.timeout(COME_UP):
                while any(seat.is_starting for seat in self._seats):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise Refused("A worker does not come up.") from None

    async def _reload_all(self, workers: Sequence[Worker]) -> Json:
        """The first reads the files and all others take what it has read, or nobody does."""
        told = await self._read(workers)
        asked = (worker.ask("stage", within=STAGE, source=told["source"]) for worker in workers)
        staged = await asyncio.gather(*asked, return_exceptions=True)
        needs_restart: set[str] = set()
        for each in staged:
            if isinstance(each, BaseException):
                raise each
            if each is not None:  # one that is gone comes back with what the others have by then
                needs_restart.update(each["needs_restart"])
        self.source = told["source"]
        await asyncio.gather(*map(self._commit, workers))
        self._counts.reloads += 1
        return {"digest": told["digest"], "needs_restart": sorted(needs_restart)}

    async def _read(self, workers: Sequence[Worker]) -> Json:
        """What the files say now, by the first worker that answers."""
        for worker in workers:
            if (told := await worker.ask("read", within=STAGE)) is not None:
                return told
        raise Refused("No worker is ready.")

    async def _commit(self, worker: Worker) -> None:
        try:
            done = await worker.ask("commit", within=COMMIT)
        except Refused:
            done = None
        if done is None:
            worker.tell(signal.SIGKILL)  # the one that takes its place has it
