"""
Ends reservations, and sees to it that each one ends: what the store did not answer is repeated
until it does.

Nothing is forgotten: while too much is unfinished, no more is admitted. A row whose settlement
was not answered is handed to the ledger by another way at once; that it comes twice does no harm.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import date

from redis.exceptions import RedisError

from ..contract.errors import StoreUnavailable
from .contact import Contact
from .limiter import Books
from .model import Calendar, Limit
from .scripts import LATE, UNSETTLED, Ending, Scripts, Seed, seeds_for
from .seeds import Seeds

MOST = 50_000
"""Unanswered settlements at which nothing more is admitted; each takes about a kilobyte."""

REPEATED_AT_ONCE = 512


class Unfinished:
    """What is to be ended. `wall` is milliseconds since 1970."""

    def __init__(
        self,
        scripts: Scripts,
        contact: Contact,
        seeds: Seeds,
        books: Books,
        wall: Callable[[], int],
    ) -> None:
        self._scripts = scripts
        self._contact = contact
        self._seeds = seeds
        self._books = books
        self._wall = wall
        self._waiting: dict[str, Ending] = {}

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more may be begun."""
        return len(self._waiting) >= MOST

    @property
    def waiting(self) -> Mapping[str, Ending]:
        """What was not answered, by request id."""
        return self._waiting

    def pending(self, tenant: str, limit: Limit, start: date, epoch: int) -> int:
        """
        How much of a calendar limit the ledger has been handed, since the first day of its
        period, and the data of that epoch are yet to be charged.
        """
        return sum(
            limit.cost(each.used)
            for each in self._waiting.values()
            if each.reservation.tenant == tenant
            and _will_charge(each, epoch)
            and limit.name in {known.name for known in each.reservation.limits}
            and _first_day(limit, each.reservation.admitted) == start
        )

    async def end(self, ending: Ending) -> int | None:
        """
        End a reservation, now or as soon as the store answers, which is None; settle.lua has
        the other answers. Never raises but for being cancelled, and then it ends it later.
        """
        if self._contact.is_open:
            self.later(ending)
            return None
        try:
            return await self._end(ending)
        except (RedisError, StoreUnavailable) as error:
            self.later(ending)
            self._contact.failed(error)
            return None
        except asyncio.CancelledError:
            self.later(ending)
            raise

    def later(self, ending: Ending) -> None:
        """End it once the store answers: whether it has is not known."""
        if ending.entry is not None and not ending.handed:
            self._books.outbox(ending.entry)
            ending = ending._replace(handed=self._wall())
        self._waiting[ending.reservation.request_id] = ending

    async def repeat(self) -> None:
        """Try once more what was not answered."""
        due = list(self._waiting.items())[:REPEATED_AT_ONCE]
        answers = await asyncio.gather(
            *(self._end(ending) for _, ending in due), return_exceptions=True
        )
        for (request_id, ending), answer in zip(due, answers, strict=True):
            if isinstance(answer, BaseException):
                self._contact.failed(answer)
            if self._waiting.get(request_id) is not ending:
                continue
            del self._waiting[request_id]
            if isinstance(answer, RedisError | StoreUnavailable):
                self._waiting[request_id] = ending  # behind those that were not tried

    async def _end(self, ending: Ending) -> int:
        seeds: list[Seed] = []
        while True:
            answer = await self._scripts.end(ending, seeds)
            if answer.how != UNSETTLED:
                self._scripts.counts.late += answer.how == LATE
                return answer.how
            # What is pending is left out anyway: then one question serves all that waits.
            is_pending = _will_charge(ending, answer.epoch)
            without = "" if is_pending else ending.reservation.request_id
            seeds = await seeds_for(ending.reservation, answer, self._seeds, without=without)


def _will_charge(ending: Ending, epoch: int) -> bool:
    """Whether settle.lua adds to a counter what the ledger has been handed."""
    began = epoch // 1000  # an epoch is the microsecond in which its data began
    known = ending.reservation.epoch == epoch
    return ending.handed > 0 and epoch > 0 and (known or ending.handed >= began)


def _first_day(limit: Limit, admitted: int) -> date:
    assert isinstance(limit.window, Calendar), "only these have a past"
    return limit.window.first_day(admitted)
