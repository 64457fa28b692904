"""
The invariants of LIMITS, one function each, held against every step of a history.

Each judges what happened by its own definition, from the truth; none knows how a limiter decides.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from gateway.contract.errors import BudgetExhausted
from gateway.limits.model import Ask, Calendar, Limit, Sliding
from tests.proofs.sides import Stored
from tests.proofs.truth import Request, Truth
from tests.proofs.world import Claim, Event, World

TAKEN = ("admitted", "extended")
UNCHANGED = ("refused", "too-large", "not-extended", "unheard", "asked")


def q1_window(world: World, event: Event) -> None:
    """No interval of a window's length holds more than the limit, when something is taken."""
    if event.kind not in TAKEN:
        return
    assert event.tenant is not None
    truth = world.truth.of(event.tenant)
    for limit in event.grown:
        if isinstance(limit.window, Sliding):
            length = limit.window.bucket_ms * limit.window.buckets
            assert truth.window(limit, length) <= limit.amount, limit


def q2_budget(world: World, event: Event) -> None:
    """Settled and reserved are within the budget, when something is taken."""
    if event.kind not in TAKEN:
        return
    assert event.request is not None
    truth = world.truth.of(event.request.tenant)
    for limit, period in _periods(event.grown, event.request.admitted):
        if period < _period(limit, world.truth.furthest) - (not world.forgot):
            continue  # gone: nobody counts it any more
        spent, reserved = truth.spent(limit, period), truth.reserved(limit, period)
        assert spent + reserved <= limit.amount, (limit, spent, reserved)


def q3_concurrency(world: World, event: Event) -> None:
    """Live leases are no more than the limit, and whoever has lost his is told."""
    if event.kind == "admitted":
        assert event.tenant is not None
        for limit in _places(event.limits):
            assert world.truth.of(event.tenant).alive(limit) <= limit.amount, limit
    elif event.kind == "renewed":
        for request in event.kept:
            for limit in _places(request.limits):
                alive = world.truth.of(request.tenant).alive(limit)
                assert alive <= _most(event.kept, limit) or request in event.alive
        for request in event.alive:
            assert request.voided or request.id not in event.told, "its lease was alive"
    elif event.kind == "expired":
        assert not any(alive for _, alive in event.ended), "a place was taken from its holder"


def q3_fence(world: World, event: Event) -> None:
    """Nobody whose lease has ended goes on; after an outage he may take his place again."""
    if event.kind == "extended":
        assert event.request is not None
        assert event.request.voided or event.request.ends > world.truth.now, "it had ended"
    if event.kind == "renewed" and not event.after_outage:
        for request in event.kept:
            goes_on = not request.reservation.lost and not request.voided
            assert request in event.alive or not goes_on, "a lease that had ended was renewed"


def q4_all_or_nothing(world: World, event: Event) -> None:
    """What was refused has changed no counter."""
    if event.kind not in UNCHANGED or event.reaped:
        return
    for tenant, before in world.before.items():
        _same(world, world.limits[tenant], before, world.after[tenant])


def q5_conservation(world: World, event: Event) -> None:
    """What is stored as reserved is what open requests hold, and nothing if none is open."""
    if event.kind == "reset":
        return
    requests = world.truth.requests.values()
    names = {each.id for each in requests if each.state == "open"}
    for tenant, stored in world.after.items():
        truth = world.truth.of(tenant)
        assert set(stored.open) == names
        for (name, period), reserved in stored.reserved.items():
            limit = _named(world.limits[tenant], name)
            # What is reserved in the past limits nobody, and is not put back.
            if period >= _period(limit, truth.furthest) - (not world.forgot):
                assert reserved == truth.reserved(limit, period), (name, period)
        for name, buckets in stored.buckets.items():
            assert stored.sums[name] == sum(buckets.values()), name
            limit = _named(world.limits[tenant], name)
            for number, amount in () if world.doubtful else buckets.items():
                assert truth.bucket(limit, number) in (None, amount), (name, number)


def q6_once(world: World, event: Event) -> None:
    """However often and by whomever a request is ended, it is charged once, and the truth."""
    if event.kind == "again":
        for tenant, before in world.before.items():
            _same(world, world.limits[tenant], before, world.after[tenant])
    if event.kind == "expired":
        assert all(state == "open" for state, _ in event.ended), "it had ended already"


def q6_truth(world: World, event: Event) -> None:
    """What is stored as settled is what requests that ended have used."""
    if event.kind == "reset":
        return
    for tenant, stored in world.after.items():
        truth = world.truth.of(tenant)
        for limit, period in _periods(world.limits[tenant], world.truth.now):
            known = (limit.name, period) in stored.settled or not world.forgot
            if not known or period < _period(limit, world.truth.furthest) - 1:
                continue
            spent = truth.spent(limit, period)
            assert stored.settled.get((limit.name, period), 0) == spent, (limit, period)
        for (name, period), settled in stored.settled.items():
            spent = truth.spent(_named(world.limits[tenant], name), period)
            assert settled == spent, (name, period, settled, spent)


def q7_ledger_is_usage(world: World, event: Event) -> None:
    """Every request that ended has one row, with what it used; nobody else has any."""
    if event.kind not in ("settled", "expired", "again", "unheard", "finished"):
        return
    rows = world.side.rows()
    finals = [row.text for row in rows if row.final]
    assert len(set(finals)) == len(finals), "a row was written twice"
    assert all(len(row.text.split()) > 1 for row in rows)
    told = {row.text.split()[0]: row for row in rows}  # a final row comes after a provisional one
    ended = {
        each.id: each
        for each in world.truth.requests.values()
        if each.state in ("settled", "expired")
    }
    assert told.keys() == ended.keys()
    for name, request in ended.items():
        row = told[name]
        if request.state == "settled":
            assert row.final
            assert row.text == f"{name} {request.used.tokens} {request.used.cost}"
        else:
            assert (row.final, row.text) == (False, f"{name} note")
            assert (row.tokens, row.cost) == request.heard


def q8_ledger_is_counters(world: World, event: Event) -> None:
    """What a budget has settled is the sum of its rows."""
    if event.kind not in ("settled", "expired", "again", "finished"):
        return
    costs: dict[str, int] = {}
    for row in world.side.rows():
        name, *figures = row.text.split()
        costs[name] = int(figures[1]) if row.final else row.cost
    for tenant, stored in world.after.items():
        for (name, period), settled in stored.settled.items():
            limit = _named(world.limits[tenant], name)
            if limit.measure != "money":
                continue
            requests = world.truth.of(tenant).requests.values()
            mine = (each for each in requests if each.is_of(limit, period))
            assert settled == sum(costs.get(each.id, 0) for each in mine), (name, period)


def q9_honest_retry(world: World, event: Event) -> None:
    """Waiting as long as told is enough, and a sub-bucket less is not."""
    if any(each.voided for each in world.truth.requests.values()):
        return  # a clock that was given up has spent what is still to come
    if event.tried == "early":
        assert event.request is None, "told to wait too long"
    elif event.tried == "waited":
        assert event.request is not None, "told to wait too little"


def q10_progress(world: World, event: Event) -> None:
    """A lease after every holder has died, nothing is held any more."""
    if event.kind != "finished":
        return
    for tenant, stored in world.after.items():
        assert not stored.open
        assert not stored.leases
        for limit in _places(world.limits[tenant]):
            held = _alive(stored.places.get(limit.name, {}), world.truth.now)
            known = world.truth.requests
            assert all(each in known and known[each].voided for each in held)
        for (name, period), reserved in stored.reserved.items():
            limit = _named(world.limits[tenant], name)
            past = period < _period(limit, world.truth.furthest) - (not world.forgot)
            assert not reserved or past


def q11_isolation(world: World, event: Event) -> None:
    """Nothing that a tenant does changes what another has, or is told that it has."""
    if event.tenant is None:
        return
    truth = world.truth.of(event.tenant)
    for standing in event.standings:
        for limit, _ in _periods((standing.limit,), truth.now):
            assert standing.remaining == max(0, limit.amount - truth.in_use(limit, event.at)), limit
    for tenant, before in world.before.items():
        if tenant != event.tenant and not event.reaped:
            _same(world, world.limits[tenant], before, world.after[tenant], shared=False)


def q12_utilisation(world: World, event: Event) -> None:
    """Nobody is refused, or given a lower cap, unless a limit would be passed by more."""
    truth = world.truth.of(event.tenant or "")
    if event.kind == "too-large":
        assert event.ask is not None
        least = event.ask.at(event.ask.least)
        most = event.ask.at(event.ask.cap)
        assert any(
            each.cost(least if isinstance(each.window, Calendar) else most) > each.amount
            for each in event.limits
        )
    elif event.kind == "refused":
        assert event.ask is not None
        assert world.doubtful or any(_is_full(truth, limit, event.ask) for limit in event.limits), (
            event.error
        )
        spent = isinstance(event.error, BudgetExhausted)
        assert not spent or any(each.measure == "money" for each in event.limits)
    elif event.kind == "admitted":
        assert event.ask is not None
        assert event.request is not None
        cap, held = event.request.reservation.cap, event.request.amounts
        assert event.ask.least <= cap <= event.ask.cap
        assert held == event.ask.at(cap)
        more = event.ask.at(cap + 1)
        assert cap == event.ask.cap or any(
            truth.spent(limit, period) + truth.reserved(limit, period)
            > limit.amount + limit.cost(held) - limit.cost(more)
            for limit, period in _periods(event.limits, event.request.admitted)
        ), "its cap was lowered too far"


def _is_full(truth: Truth, limit: Limit, ask: Ask) -> bool:
    """Whether it has too little left for the request by what it may at most count."""
    match limit.window:
        case Sliding(bucket_ms, buckets):
            since = truth.now - bucket_ms * (buckets + 1)
            return truth.charged(limit, since + 1) + limit.cost(ask.at(ask.cap)) > limit.amount
        case Calendar():
            return truth.in_use(limit) + limit.cost(ask.at(ask.least)) > limit.amount
        case _:
            doubtful = any(each.voided and each.state != "settled" for each in truth.holding(limit))
            return doubtful or truth.alive(limit) >= limit.amount


def _period(limit: Limit, now: int) -> int:
    assert isinstance(limit.window, Calendar)
    return limit.window.period(now)[0]


def _periods(limits: Iterable[Limit], at: int) -> Iterable[tuple[Limit, int]]:
    return (
        (limit, limit.window.period(at)[0])
        for limit in limits
        if isinstance(limit.window, Calendar)
    )


def _places(limits: Iterable[Limit]) -> list[Limit]:
    return [limit for limit in limits if limit.window.kind == "c"]


def _most(requests: Iterable[Request], limit: Limit) -> int:
    """The highest amount by which any of them is held to it: it may have been changed."""
    limits = (each for request in requests for each in request.limits)
    return max(each.amount for each in limits if each.name == limit.name)


def _named(limits: Iterable[Limit], name: str) -> Limit:
    [limit] = (limit for limit in limits if limit.name == name)
    return limit


def _alive(places: Mapping[str, float], now: int) -> set[str]:
    return {holder for holder, end in places.items() if end > now}


def _same(
    world: World, limits: Iterable[Limit], before: Stored, after: Stored, *, shared: bool = True
) -> None:
    """Whether nothing has changed that could ever be noticed."""
    for limit in limits:
        if isinstance(limit.window, Calendar):
            number = _period(limit, world.truth.now)
            for period in (number - 1, number):
                at = (limit.name, period)
                if at in before.settled or not world.forgot:  # else it was seeded
                    assert before.settled.get(at, 0) == after.settled.get(at, 0), at
                assert before.reserved.get(at, 0) == after.reserved.get(at, 0), at
        else:
            noticeable = _noticeable_places if limit.window.kind == "c" else _noticeable_buckets
            assert noticeable(world.truth.now, limit, before) == noticeable(
                world.truth.now, limit, after
            ), limit.name
    if shared:
        assert before.open == after.open


def _noticeable_buckets(now: int, limit: Limit, stored: Stored) -> Mapping[int, int]:
    """What a window counts."""
    assert isinstance(limit.window, Sliding)
    current = now // limit.window.bucket_ms
    keep = current - limit.window.buckets
    buckets = stored.buckets.get(limit.name, {})
    if max(buckets, default=0) > current:  # charged by a clock that was given up
        return {}
    return {at: amount for at, amount in buckets.items() if amount and at >= keep}


def _noticeable_places(now: int, limit: Limit, stored: Stored) -> AbstractSet[str]:
    """Who holds a place."""
    return _alive(stored.places.get(limit.name, {}), now)


CLAIMS: dict[str, tuple[Claim, ...]] = {
    "q1": (q1_window,),
    "q2": (q2_budget,),
    "q3": (q3_concurrency, q3_fence),
    "q4": (q4_all_or_nothing,),
    "q5": (q5_conservation,),
    "q6": (q6_once, q6_truth),
    "q7": (q7_ledger_is_usage,),
    "q8": (q8_ledger_is_counters,),
    "q9": (q9_honest_retry,),
    "q10": (q10_progress,),
    "q11": (q11_isolation,),
    "q12": (q12_utilisation,),
}
