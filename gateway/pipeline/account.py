"""
What one request holds of its caller's limits, and what it is charged in the end.

It takes from the limits the most that it can come to, by the price of the target that it is about
to be sent to; moves that up before it goes on to a dearer one; and is settled by what it has come
to, by the price of the target that served.

Hot: once a request, and once more for each target that it goes on to.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from ..contract.errors import GatewayError
from ..contract.provider import Usage
from ..ledger.entry import entry_of, note_of
from ..limits import (
    NOT_LIMITED,
    Amounts,
    Ask,
    Limiter,
    LimitReached,
    Limits,
    Reservation,
    Standings,
)
from ..pricing import FREE, ModelUnpriced, Price
from ..telemetry.record import AttemptRecord, Record
from .events import Tally
from .lineup import Lineup
from .reckoning import Reckoning

ABSURD = 4
"""Times the tokens that were reserved: an upstream that reports more is not believed."""


class LeaseLost(GatewayError):
    """The limiter gave this request's slot away while it ran, so it stops."""

    status, type, code, retryable = 503, "server_error", "lease_lost", True


class Account:
    """
    Of one request, whose `record` it completes. `reckoning` is of the model that is asked, `tally`
    of the attempt on its way, `standings` how the limits stood when they were asked.
    """

    reckoning: Reckoning
    tally: Tally
    standings: Standings = NOT_LIMITED
    priced_for = ""
    """The target by whose price limits have room for the request."""
    lowered_cap: int | None = None
    """Tokens to which a budget has lowered the cap of an answer whose request names none."""
    _opened = 0
    _owes_row = False
    _kept: Usage | None = None
    _kept_price: Price | None = None
    _price: Price | None = None
    _reservation: Reservation | None = None

    def __init__(
        self, limiter: Limiter, record: Record, tenant: str, interrupt: Callable[[Exception], None]
    ) -> None:
        """`interrupt` ends the request, when it has lost its place under a limit."""
        self._limiter = limiter
        self._record = record
        self._tenant = tenant
        self._interrupt = interrupt

    async def open(self, reckoning: Reckoning, limits: Limits, lineup: Lineup) -> None:
        """
        Reserve for the first of the targets. Under a budget, those without a price lose their turn.

        What was reserved for another model is given back first, as if it had never been taken.

        Raises:
            GatewayError: a limit refuses; no counter has changed.
        """
        self.reckoning = reckoning
        self.priced_for, self._price = _first_price(reckoning, lineup)
        ask = reckoning.ask(self._price)
        limiter, held = self._limiter, self._reservation
        if held is not None:
            self._reservation = None
            await limiter.cancel(held)
        note = self._note() if limiter.keeps_notes else b""
        try:
            taken = await limiter.reserve(self._next_id(), self._tenant, limits, ask, note=note)
        except LimitReached as refusal:
            self.standings = refusal.standings
            raise
        self._took(taken)

    def _took(self, reservation: Reservation) -> None:
        record, reckoning = self._record, self.reckoning
        self._reservation, self._owes_row = reservation, True
        reservation.on_lost = self._lost
        reservation.progress = self._so_far
        if reservation.standings.left:
            self.standings = reservation.standings
        record.admitted = True
        if reservation.admitted:
            record.admitted_at = datetime.fromtimestamp(reservation.admitted / 1000, UTC)
        record.reserved_tokens, record.reserved_cost = reservation.amounts
        self.lowered_cap = None
        if reservation.cap < reckoning.cap:
            self.lowered_cap = reckoning.cap = reservation.cap

    def _note(self) -> bytes:
        priced = self._price is not None and self._price is not FREE
        return note_of(self._record, prompt_tokens=self.reckoning.estimated, priced=priced)

    def _lost(self) -> None:
        self._interrupt(LeaseLost("The request lost its place under the concurrency limit."))

    async def afford(self, target: str) -> None:
        """
        Move the reservation to the price of that target, where it is the dearer one.

        Raises:
            GatewayError: it has no price, or a limit has too little left for it; what was held
                before is held still.
        """
        reservation, reckoning = self._reservation, self.reckoning
        assert reservation is not None, "opened before"
        price = reckoning.price(target)
        if reckoning.counts_money:
            needed = reckoning.ask(price).at(reservation.cap)
            if needed.cost > reservation.amounts.cost:
                await self._limiter.extend(reservation, needed)
                self._record.reserved_cost = reservation.amounts.cost
        self.priced_for, self._price = target, price

    def abandon(self, attempt: AttemptRecord) -> None:
        """An attempt that may have been worked on costs the operator, though not the caller."""
        attempt.ambiguous = True
        if self._price is not None:
            attempt.cost = self._price.cost(self._own())

    def keep(self, tokens: int) -> None:
        """The answer has broken off; its client has so many tokens, and another may go on."""
        own, attempt = self._own(), self._record.attempts[-1]
        if self._price is not None:
            attempt.cost = self._price.cost(own)
        self._kept = replace(self._kept or own, completion=tokens)
        self._kept_price = self._price
        self.tally = Tally()

    def go_on_from(self, tokens: int) -> None:
        """Another goes on; of what the client has, so many tokens are not in its count."""
        assert self._kept is not None, "kept before"
        self._kept = replace(self._kept, completion=tokens)

    def charge(self) -> None:
        """Write what was used into the record: the upstream's count, else our own."""
        record, tally, kept = self._record, self.tally, self._kept
        usage = self._usage() if tally.usage is None or kept is not None else tally.usage
        if tally.usage is None and (kept is None or tally.pieces):
            record.usage_source = "counted"
        elif record.reserved_tokens and usage.total > ABSURD * record.reserved_tokens:
            record.usage_source = "upper_bound"
            prompt = self.reckoning.prompt()
            usage = Usage(prompt, max(0, record.reserved_tokens - prompt))
        record.finish_reasons = tally.finish_reasons
        record.prompt_tokens, record.completion_tokens = usage.prompt, usage.completion
        record.cached_tokens, record.reasoning_tokens = usage.cached, usage.reasoning
        record.cache_written_tokens = usage.cache_written
        record.audio_prompt_tokens = usage.audio_prompt
        record.audio_completion_tokens = usage.audio_completion
        price = self._price if kept is None or tally.content else self._kept_price
        if price is not None:
            record.cost = price.cost(usage)
            record.priced = price is not FREE
            if kept is None:
                record.attempts[-1].cost = record.cost
            elif tally.content:
                record.attempts[-1].cost = price.cost(self._own())

    async def settle(self) -> None:
        """Charge what the record says, give back the rest, enter it into the ledger: once."""
        if not self._owes_row:
            return
        reservation = self._reservation or await self._empty()
        self._reservation, self._owes_row = None, False
        reservation.on_lost = None
        record = self._record
        used = Amounts(record.prompt_tokens + record.completion_tokens, record.cost)
        await self._limiter.settle(reservation, used, entry=entry_of(record))

    async def _empty(self) -> Reservation:
        """For the row of what was tried, where it was given back and nothing taken since."""
        return await self._limiter.reserve(self._next_id(), self._tenant, (), Ask(Amounts()))

    def _next_id(self) -> str:
        """What is given back has ended, so that whatever is taken next needs a name of its own."""
        self._opened += 1
        first = self._record.request_id
        return first if self._opened == 1 else f"{first}-{self._opened}"

    def _own(self) -> Usage:
        """Of the attempt on its way."""
        return self.tally.usage or self.reckoning.counted(self.tally.pieces)

    def _usage(self) -> Usage:
        """Of the answer: its first prompt, and all that was said."""
        if self._kept is None:
            return self._own()
        tally = self.tally
        more = tally.pieces if tally.usage is None else tally.usage.completion
        return replace(self._kept, completion=self._kept.completion + more)

    def _so_far(self) -> Amounts:
        """What the limits are charged if this process dies now."""
        if not self._record.attempts:
            return Amounts()
        usage = self._usage()
        return Amounts(usage.total, 0 if self._price is None else self._price.cost(usage))


def _first_price(reckoning: Reckoning, lineup: Lineup) -> tuple[str, Price | None]:
    """The first target that may be used, and its price."""
    while True:
        first = lineup.first()
        assert first is not None, "there is somebody to ask"
        try:
            return first.name, reckoning.price(first.name)
        except ModelUnpriced:
            lineup.take()
            if lineup.first() is None:
                raise
