"""
A limiter, a clock that is moved by hand, and the truth beside them: everything that can happen to
limits, one step at a time, each told to the claims that are to be proven.

A step is a name and a few numbers, so that whoever draws numbers can draw a history.
"""

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain, count
from math import inf

from gateway.contract.errors import GatewayError, LimitsUnavailable, RequestExceedsLimit
from gateway.limits.keys import shard_of
from gateway.limits.memory import AHEAD
from gateway.limits.model import (
    DAY_MS,
    NOT_LIMITED,
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    Measure,
    Reservation,
    Sliding,
    Standings,
)
from gateway.limits.refusal import LimitReached
from tests.proofs.sides import GATEWAYS, SWEEP, InProcess, OnRedis, Side, Stored
from tests.proofs.truth import Excess, Request, State, Truth
from tests.support.ticker import Ticker

ACME = "acme"
NEIGHBOUR = next(name for number in count() if shard_of(name := f"n{number}") == shard_of(ACME))
"""A tenant whose keys lie in the same shard."""

TENANTS = (ACME, NEIGHBOUR)
MODELS = 2

Ranges = tuple[tuple[int, int], ...]

WHICH = (0, 997)
"""One of those that there are, whatever their number."""

STEPS: dict[str, tuple[int, Ranges]] = {
    # its weight, and the ranges of its numbers
    "reserve": (34, ((0, 7), (0, 1), (0, 40), (0, 40), (0, 60), (0, 15))),
    "insist": (4, ((0, 7), (0, 1), (0, 40), (0, 40), (0, 60), (0, 15))),
    "extend": (6, (WHICH, (0, 40), (0, 40))),
    "relay": (6, (WHICH, (0, 30), (0, 30))),
    "settle": (16, (WHICH, (0, 60), (0, 60))),
    "settle_late": (6, (WHICH, (0, 60), (0, 60))),
    "again": (5, (WHICH, (0, 3), (0, 60))),
    "unheard": (4, ((0, 1), (0, 1), (0, 40), (0, 40))),
    "renew": (8, ((0, 1), (0, 3))),
    "look": (4, ((0, 1),)),
    "expire": (6, ((0, 1),)),
    "sweep": (6, ((0, 1),)),
    "doze": (3, ((0, 1),)),
    "crash": (1, ((0, 1),)),
    "lose": (2, ()),
    "restart": (1, ()),
    "ask": (2, ((0, 1),)),
    "change": (2, (WHICH, (1, 100))),
    "tick": (10, ((0, 400),)),
    "tick_on": (8, ((400, 4000),)),
    "tick_window": (5, ((9000, 12000),)),
    "tick_back": (3, ((1, 5000),)),
    "tick_days": (2, ((1, 6),)),
    "clock_ran_ahead": (2, ((AHEAD + 1, 4 * AHEAD),)),
}

Step = tuple[str, tuple[int, ...]]

QUIET = round(2 * SWEEP * 1000)
"""ms in which gateways put back what a store has lost."""

EXPIRED = 1
"""What a sweeper is told of a reservation that it has ended."""


@dataclass(frozen=True)
class Setting:
    """What a history begins with."""

    requests: int
    tokens: int
    daily: int
    spend: int
    monthly: int
    places: int
    lease: int
    shape: int

    RANGES = ((1, 8), (20, 200), (40, 300), (40, 300), (100, 700), (1, 5), (500, 7000), (0, 8))

    @property
    def window(self) -> Sliding:
        return (Sliding(1000, 10), Sliding(250, 7), Sliding(100, 60))[self.shape % 3]

    def limits(self, tenant: str) -> list[Limit]:
        """Of the tenant, its key, and last of a model in a project that both tenants have."""
        own, key = f"tenant:{tenant}", f"key:k{tenant}"
        return [
            Limit(own, "requests", self.requests, self.window),
            Limit(own, "tokens", self.tokens, self.window),
            Limit(own, "tokens", self.daily, Calendar("day")),
            Limit(own, "money", self.monthly, Calendar("month")),
            Limit(key, "money", self.spend, Calendar("day")),
            Limit(key, "concurrency", self.places, AtOnce()),
            Limit("project:p/m:0123456789ab", "requests", 5 * self.requests, Calendar("day")),
        ]


@dataclass
class Event:
    """One step: what was asked, what came of it, and what was stored before and after."""

    kind: str
    tenant: str | None = None
    limits: tuple[Limit, ...] = ()
    ask: Ask | None = None
    request: Request | None = None
    grown: tuple[Limit, ...] = ()
    """Limits of which more is held than before."""
    error: GatewayError | None = None
    standings: Standings = NOT_LIMITED
    at: int = 0
    """When `standings` were so, if not now."""
    reaped: bool = False
    """Whether others were expired on the way."""
    tried: str = ""
    """`early` or `waited`, by what a refusal had told."""
    was: State = "open"
    alive: tuple[Request, ...] = ()
    """Held by the gateway that renews, their leases not ended."""
    kept: tuple[Request, ...] = ()
    """Still held by it afterwards."""
    told: frozenset[str] = frozenset()
    """Requests whose holders were told to stop."""
    after_outage: bool = False
    """Whether a lease that had ended may be taken again."""
    ended: tuple[tuple[State, bool], ...] = ()
    """What was expired: its state before, and whether its lease was alive."""


Claim = Callable[["World", Event], None]


class World:
    """One history. `claims` are held against every step of it."""

    def __init__(self, side: Side, ticker: Ticker, claims: Sequence[Claim]) -> None:
        self.side = side
        self.ticker = ticker
        self.truth = Truth()
        self.limits: dict[str, list[Limit]] = {}
        self.before: dict[str, Stored] = {}
        self.after: dict[str, Stored] = {}
        self.reached = 0
        """Admissions, so that a proof can tell that it has proven something."""
        self._claims = claims
        self._made = count(1)
        self.forgot = False
        """Whether counters have lost their past, which they ask the ledger for when next used."""
        self.doubtful = False
        """Whether windows may count more than they need to."""
        self._found: list[tuple[str, bytes]] = []

    async def begin(self, setting: Setting) -> None:
        self.lease = setting.lease
        self.limits = {tenant: setting.limits(tenant) for tenant in TENANTS}
        self.side.spent = self
        await self.side.open(setting.lease)
        await self._look_at_the_clock()
        self.after = await self._stored()

    async def step(self, name: str, numbers: Sequence[int]) -> None:
        """Do it, and hold every claim against what came of it."""
        does: Callable[..., Awaitable[Event | None]] = getattr(self, name)
        self.before = self.after
        event = await does(*numbers)
        if event is not None:
            await self._observe(event)

    async def _observe(self, event: Event) -> None:
        """See what is stored now, and hold every claim against it."""
        self.after = await self._stored()
        event.reaped = self._reaped()
        for claim in self._claims:
            claim(self, event)

    def _reaped(self) -> bool:
        """Whether a refused request has expired others, so as not to be refused for their sake."""
        found = False
        for each in self._of("open"):
            if each.ends <= self.truth.now and each.id not in self.after[ACME].open:
                each.state, each.places, found = "expired", False, True
        return found

    async def finish(self) -> None:
        """
        Every holder dies; whoever is left sweeps once, a lease later. In process every request
        is settled instead, for with its holders the limits die too.
        """
        self.before = self.after
        if isinstance(self.side, OnRedis):
            for gateway in range(GATEWAYS):
                await self._die(gateway)
            self.ticker.ms = max(self.ticker.ms, self.truth.now) + self.lease
            await self._sweep(0)
        for request in self._of("open"):
            await self._settle(request, request.relayed)
        await self._observe(Event("finished"))

    async def room(self, tenant: str) -> list[Reservation]:
        """What can be had at once of nothing but places."""
        places = [limit for limit in self.limits[tenant] if limit.window.kind == "c"]
        had, limiter = [], self.side.limiters[0]
        with suppress(LimitReached):
            while True:
                name = f"p{next(self._made)}"
                had.append(await limiter.reserve(name, tenant, tuple(places), Ask(NOTHING)))
        for each in had:
            await limiter.settle(each, NOTHING)
        return had

    # What callers do

    async def reserve(
        self, who: int, model: int, tokens: int, cost: int, cap: int, least: int
    ) -> Event:
        """A request is admitted or refused."""
        tenant = TENANTS[who >= 6]  # most of one, so that its limits are met
        limits = tuple(self.limits[tenant][: len(self.limits[tenant]) - model])
        ask = Ask(Amounts(tokens, cost), Amounts(1, 2), cap, min(least, cap))
        name, gateway = f"r{next(self._made)}", who % len(self.side.limiters)
        limiter = self.side.limiters[gateway]
        event = Event("admitted", tenant, limits, ask)
        try:
            held = await limiter.reserve(name, tenant, limits, ask, note=note_of(name))
        except RequestExceedsLimit as error:
            return replace(event, kind="too-large", error=error)
        except GatewayError as error:
            self._counts()
            return replace(event, kind="refused", error=error)
        now = self._counts()
        request = Request(held, gateway, admitted=now, ends=self._lease_from(now))
        held.progress = lambda: request.relayed
        self.truth.requests[name] = request
        self.reached += 1
        return replace(event, request=request, grown=limits, standings=held.standings)

    async def insist(self, *numbers: int) -> Event:
        """Try; wait a little less than told, and try; wait the rest, and try."""
        self.ticker.ms = max(self.ticker.ms, self.truth.now)
        event = await self.reserve(*numbers)
        if not isinstance(event.error, LimitReached) or not self._only_time_helps(event):
            return event
        wait = round((event.error.retry_after or 0) * 1000)
        width = min(wait, max(map(_bucket_ms, event.limits)))
        # Nobody knows whether a reserved budget will be given back, so its wait is the longest.
        is_exact = not self._is_short_of_budget(event)
        tries = (("early", wait - width), ("waited", width)) if is_exact else (("waited", wait),)
        for kind, by in tries:
            await self._observe(event)
            self.before = self.after
            self.ticker.ms += by
            event = await self.reserve(*numbers)
            event.tried = kind
            if event.request is not None:
                break
        return event

    def _only_time_helps(self, refused: Event) -> bool:
        assert refused.tenant is not None
        places = (limit for limit in refused.limits if limit.window.kind == "c")
        return all(self.truth.of(refused.tenant).alive(limit) < limit.amount for limit in places)

    def _is_short_of_budget(self, refused: Event) -> bool:
        assert refused.tenant is not None
        assert refused.ask is not None
        truth, least = self.truth.of(refused.tenant), refused.ask.at(refused.ask.least)
        return any(
            truth.in_use(limit) + limit.cost(least) > limit.amount
            for limit in refused.limits
            if isinstance(limit.window, Calendar)
        )

    async def extend(self, which: int, tokens: int, cost: int) -> Event | None:
        """Another target would be dearer."""
        request = self._one(which, "open")
        if request is None:
            return None
        before, limits = request.amounts, request.limits
        amounts = Amounts(before.tokens + tokens, before.cost + cost)
        event = Event("extended", request.tenant, limits, Ask(amounts), request)
        try:
            await self.side.limiters[request.gateway].extend(request.reservation, amounts)
        except RequestExceedsLimit as error:
            return replace(event, kind="not-extended", error=error)
        except GatewayError as error:
            self._counts()
            return replace(event, kind="not-extended", error=error)
        now = self._counts()
        grown = tuple(each for each in limits if each.cost(amounts) > each.cost(before))
        request.charged_at |= {limit.name: now for limit in grown}
        return replace(event, grown=grown)

    async def relay(self, which: int, tokens: int, cost: int) -> None:
        """The answer grows; nobody but its holder knows."""
        if request := self._one(which, "open"):
            told, most = request.relayed, request.amounts
            request.relayed = Amounts(
                min(told.tokens + tokens, most.tokens), min(told.cost + cost, most.cost)
            )

    async def settle(self, which: int, tokens: int, cost: int) -> Event | None:
        """A request ends, with less than it had reserved or with more."""
        request = self._one(which, "open")
        return None if request is None else await self._settle(request, Amounts(tokens, cost))

    async def settle_late(self, which: int, tokens: int, cost: int) -> Event | None:
        """A request ends that was given up for dead."""
        request = self._one(which, "expired")
        return None if request is None else await self._settle(request, Amounts(tokens, cost))

    async def again(self, which: int, gateway: int, tokens: int) -> Event | None:
        """What has happened already happens once more, perhaps elsewhere."""
        request = self._one(which, "open", "settled")
        if request is None:
            return None
        held, used = request.reservation, Amounts(tokens, tokens)
        if request.state == "settled":
            limiter = self.side.limiters[gateway % len(self.side.limiters)]
            again = copy(held)
            again.settled = False
            await limiter.settle(again, used, entry=row_of(held, used))
            if self.side.leased:  # in process it is known to have ended without a look at a clock
                self._counts()
        else:
            await self.side.reserve_again(request.gateway, held)
            self._counts()
        return Event("again", request.tenant, request.limits, request=request)

    async def unheard(self, gateway: int, overtaken: int, tokens: int, cost: int) -> Event | None:
        """Nobody heard whether a reserve has run, so it is cancelled."""
        if not isinstance(self.side, OnRedis):
            return None
        limits = tuple(self.limits[ACME])
        held = Reservation(f"u{next(self._made)}", ACME, limits)
        ask = Ask(Amounts(tokens, cost))
        await self.side.reserve_unheard(gateway, held, ask, overtaken=bool(overtaken))
        self._counts()
        return Event("unheard", ACME, limits)

    async def ask(self, who: int) -> Event:
        """Somebody wants to know how the limits stand."""
        tenant, limits = TENANTS[who], tuple(self.limits[TENANTS[who]])
        standings = await self.side.limiters[-1].standings(tenant, limits)
        if not self.side.leased:
            self._counts()
        at = max(self.truth.now, self.ticker.ms)
        return Event("asked", tenant, limits, standings=standings, at=at)

    async def _settle(self, request: Request, used: Amounts) -> Event:
        held, limiter = request.reservation, self.side.limiters[request.gateway]
        await limiter.settle(held, used, entry=row_of(held, used))
        now = self._counts()
        for limit in request.limits:
            beyond = limit.cost(used) - limit.cost(held.amounts)
            if beyond > 0 and isinstance(limit.window, Sliding):
                self.truth.excesses.append(Excess(now, request.tenant, limit, beyond))
        was, request.state, request.used, request.places = request.state, "settled", used, False
        return Event("settled", request.tenant, request.limits, request=request, was=was)

    # What gateways do by themselves

    async def renew(self, gateway: int, again: int) -> Event | None:
        """A heartbeat; once in a while the first after an outage."""
        if not isinstance(self.side, OnRedis):
            return None
        mine = [self.truth.requests[name] for name in self.side.held(gateway)]
        if mine:
            self._counts()
        now = self.truth.now
        alive = tuple(each for each in mine if each.ends > now and each.places)
        going = {each for each in mine if not each.reservation.lost}
        await self.side.renew(gateway, again=again == 0)
        told = frozenset(each.id for each in going if each.reservation.lost)
        kept = self.side.held(gateway)
        for each in mine:
            each.places = each.id in kept
            if each.id in kept:
                each.ends = self._lease_from(now)
                each.heard = each.relayed if each.state == "open" else each.heard
        still = tuple(each for each in mine if each.id in kept)
        return Event("renewed", alive=alive, kept=still, told=told, after_outage=again == 0)

    async def look(self, gateway: int) -> None:
        """A sweeper finds what has lapsed, and is slow to act on it."""
        if isinstance(self.side, OnRedis):
            self._found += await self.side.lapsed(gateway, ACME)

    async def expire(self, gateway: int) -> Event | None:
        """The sweeper acts on what it found first: the holder may have woken up meanwhile."""
        if not isinstance(self.side, OnRedis) or not self._found:
            return None
        return await self._expire(gateway, *self._found.pop(0))

    async def sweep(self, gateway: int) -> Event | None:
        """A sweeper finds what has lapsed, and acts on it at once."""
        return await self._sweep(gateway) if isinstance(self.side, OnRedis) else None

    async def doze(self, gateway: int) -> Event | None:
        """
        A gateway sleeps past its leases. A sweeper sees it, but is slower than the sleeper, who
        takes its places again, as after an outage.
        """
        if not isinstance(self.side, OnRedis):
            return None
        self.ticker.ms += self.lease
        await self.look(1 - gateway)
        if woken := await self.renew(gateway, 0):
            await self._observe(woken)
            self.before = self.after
        return await self._expire_all(1 - gateway)

    async def lose(self) -> Event | None:
        """
        The store loses all its data. Every gateway finds out, and puts back what it knows; what
        the dead had is missing, and so is what was used beyond its reservation.
        """
        if not isinstance(self.side, OnRedis):
            return None
        self.ticker.ms = max(self.ticker.ms, self.truth.now)  # nobody else remembers the time
        for each in self._of("expired"):  # of these the store alone knew what it had charged
            if not each.dead:
                await self._observe(await self._settle(each, each.relayed))
                self.before = self.after
        self.ticker.ms = max(self.ticker.ms, self.truth.now)  # nobody else remembers the time
        self.side.lose()
        self.forgot = True
        for gateway in range(GATEWAYS):
            with suppress(LimitsUnavailable):  # nothing is admitted until all have had the time
                await self._look_at_the_clock(gateway)
        ends = self._lease_from(self._counts())
        self.ticker.ms += QUIET
        await self._look_at_the_clock()
        back = (await self._stored())[ACME].open
        self.doubtful = True  # what is put back counts from when it was, or from later
        for each in self.truth.requests.values():
            each.voided = each.voided or each.dead
            each.places = each.state == "open" and each.id in self._held()
            if each.state == "open" and each.id in back:
                each.ends, each.heard = ends, each.relayed
            else:
                each.dead = True  # nobody remembers that it has ended
                each.state = "gone" if each.state == "open" else each.state
        for excess in self.truth.excesses:
            excess.voided = True
        return Event("reset")

    def _held(self) -> set[str]:
        assert isinstance(self.side, OnRedis)
        return {name for gateway in range(GATEWAYS) for name in self.side.held(gateway)}

    async def restart(self) -> Event | None:
        """A gateway without a store ends, and its requests with it; another begins."""
        if not isinstance(self.side, InProcess):
            return None
        self.ticker.ms = max(self.ticker.ms, self.truth.now)  # nobody else remembers the time
        self.side.restart()
        self.forgot = True
        for each in self.truth.requests.values():
            each.voided = each.dead = True
            if each.state == "open":
                each.state, each.places = "gone", False
        await self._look_at_the_clock()
        for excess in self.truth.excesses:
            excess.voided = True
        return Event("reset")

    async def crash(self, gateway: int) -> None:
        """A gateway dies, with all the requests that it held."""
        if isinstance(self.side, OnRedis):
            await self._die(gateway)

    async def _sweep(self, gateway: int) -> Event:
        assert isinstance(self.side, OnRedis)
        self._found = []
        await self.look(gateway)
        return await self._expire_all(gateway)

    async def _expire_all(self, gateway: int) -> Event:
        found, self._found = self._found, []
        ended = [await self._expire(gateway, *each) for each in found]
        return Event("expired", ended=tuple(chain.from_iterable(each.ended for each in ended)))

    async def _expire(self, gateway: int, name: str, stored: bytes) -> Event:
        assert isinstance(self.side, OnRedis)
        done = await self.side.expire(gateway, ACME, name, stored)
        now, request = self._counts(), self.truth.requests.get(name)
        if done != EXPIRED:
            return Event("expired")
        assert request is not None, "a cancelled request was expired"
        event = Event(
            "expired",
            ended=((request.state, request.places and request.ends > now),),
            request=request,
        )
        request.state, request.places = "expired", False
        return event

    async def _die(self, gateway: int) -> None:
        assert isinstance(self.side, OnRedis)
        await self.side.crash(gateway)
        for each in self.truth.requests.values():
            each.dead = each.dead or each.gateway == gateway

    # What operators and clocks do

    async def change(self, which: int, percent: int) -> None:
        """A limit is another from now on."""
        for limits in self.limits.values():
            at = which % len(limits)
            limits[at] = replace(limits[at], amount=1 + limits[at].amount * percent // 50)

    async def tick(self, by: int) -> None:
        """Time goes on."""
        self.ticker.ms += by

    tick_on = tick_window = tick

    async def tick_back(self, by: int) -> None:
        """The clock is set back, by less than makes it unbelievable."""
        self.ticker.ms = max(self.ticker.ms - by, self.truth.now - AHEAD)

    async def tick_days(self, quarters: int) -> None:
        """A quarter of a day, or up to nine days."""
        self.ticker.ms += quarters * quarters * DAY_MS // 4

    async def clock_ran_ahead(self, by: int) -> Event | None:
        """
        What the clock told until now was wrong, as the next call finds out. Not so wrong that it
        was another day: of what was used in days to come nothing is promised.
        """
        if (self.truth.now - by) // DAY_MS != self.truth.furthest // DAY_MS:
            return None
        self.ticker.ms = now = self.truth.now - by
        await self._look_at_the_clock()
        self.truth.the_clock_was_given_up(now, self._lease_from(now))
        return Event("reset")

    # The truth

    async def spent(
        self, tenant: str, scope: str, measure: Measure, start: date, *, without: str = ""
    ) -> int:
        """What the ledger says, as limiters ask it."""
        rows: dict[str, Amounts] = {}
        for row in await to_thread(self.side.rows):
            name, *figures = row.text.split()
            rows[name] = Amounts(*map(int, figures)) if row.final else Amounts(row.tokens, row.cost)
        [limit] = (
            each
            for each in self.limits[tenant]
            if (each.scope, each.measure, each.window.kind) == (scope, measure, "p")
        )
        assert isinstance(limit.window, Calendar)
        period = limit.window.period((start - date(1970, 1, 1)).days * DAY_MS)[0]
        return sum(
            limit.cost(rows[name])
            for name, each in self.truth.of(tenant).requests.items()
            if name in rows and name != without and each.is_of(limit, period)
        )

    def _counts(self) -> int:
        """The instant by which a call that was made now has counted."""
        if self.truth.now <= self.ticker.ms + AHEAD:
            self.truth.now = max(self.truth.now, self.ticker.ms)
            self.truth.furthest = max(self.truth.furthest, self.truth.now)
        return self.truth.now

    async def _look_at_the_clock(self, gateway: int = 0) -> None:
        """Somebody's request, of whom nothing else is known."""
        limits = (Limit("tenant:other", "requests", 1_000_000, Sliding(1000, 60)),)
        name, limiter = f"o{next(self._made)}", self.side.limiters[gateway]
        held = await limiter.reserve(name, NEIGHBOUR, limits, Ask(NOTHING))
        await limiter.settle(held, NOTHING)
        self._counts()

    def _lease_from(self, now: int) -> float:
        return now + self.lease if self.side.leased else inf

    def _of(self, *states: State) -> list[Request]:
        return [each for each in self.truth.requests.values() if each.state in states]

    def _one(self, which: int, *states: State) -> Request | None:
        """One of the requests in these states whose holders live, if there is any."""
        there = [each for each in self._of(*states) if not each.dead]
        return there[which % len(there)] if there else None

    async def _stored(self) -> dict[str, Stored]:
        return await self.side.stored(self.limits)


def note_of(name: str) -> bytes:
    """What the ledger shall say of a request whose holder died."""
    return f"{name} note".encode()


def row_of(held: Reservation, used: Amounts) -> bytes:
    """A request's row."""
    return f"{held.request_id} {used.tokens} {used.cost}".encode()


def _bucket_ms(limit: Limit) -> int:
    return limit.window.bucket_ms if isinstance(limit.window, Sliding) else 0
