import pytest

from gateway.contract.errors import LimitExceeded, LimitsUnavailable, RequestExceedsLimit
from gateway.limits import away as away_module
from gateway.limits.away import Away
from gateway.limits.counts import Counts
from gateway.limits.model import (
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    OnStoreError,
    Reservation,
    Sliding,
)
from gateway.limits.settings import LimitsSettings

LITTLE = Ask(NOTHING)
MINUTE = Sliding(bucket_ms=1000, buckets=60)


@pytest.fixture
def away() -> Away:
    return Away(LimitsSettings(on_store_error="local", max_replicas=4), Counts())


def requests(policy: OnStoreError | None) -> Limit:
    return Limit("tenant:acme", "requests", 8, MINUTE, policy)


def money(policy: OnStoreError | None) -> Limit:
    return Limit("tenant:acme", "money", 400, Calendar("day"), policy)


async def take(away: Away, name: str, *limits: Limit, ask: Ask = LITTLE) -> Reservation:
    return await away.take(Reservation(name, "acme", limits, ask.at(ask.cap), ask.cap), ask)


@pytest.mark.parametrize(
    ("of_requests", "of_money", "outcome"),
    [
        ("allow", "allow", "allowed_unseen"),
        ("allow", "local", "held_locally"),
        ("local", "allow", "held_locally"),
        (None, "allow", "held_locally"),
        ("allow", "refuse", "unavailable"),
        ("refuse", "local", "unavailable"),
    ],
)
async def test_of_the_policies_of_one_request_the_strictest_decides(
    away: Away, of_requests: OnStoreError | None, of_money: OnStoreError, outcome: str
) -> None:
    try:
        held = await take(away, "r", requests(of_requests), money(of_money))
    except LimitsUnavailable:
        assert outcome == "unavailable"
    else:
        assert away.has(held)

    assert getattr(away._counts, outcome) == 1


async def test_a_limit_that_is_allowed_holds_nobody_beside_one_that_is_held(away: Away) -> None:
    limits = (requests("local"), money("allow"))
    for name in ("a", "b"):  # of 8 // 4
        held = await take(away, name, *limits, ask=Ask(Amounts(0, 399)))
    with pytest.raises(LimitExceeded):
        await take(away, "c", *limits)

    assert [standing.limit.measure for standing in held.standings] == ["requests"]


async def test_a_caller_is_remembered_once_however_many_requests_it_sends(away: Away) -> None:
    for number in range(2):
        held = await take(away, f"r{number}", requests("local"), money("allow"))
        await away.release(held, NOTHING)

    assert len(away._share._bound) == 1


async def test_no_more_than_so_many_callers_are_remembered(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(away_module, "REMEMBERED", 2)
    for number in range(5):
        limit = Limit(f"key:k{number}", "requests", 8, MINUTE)
        await take(away, f"r{number}", limit)
        assert len(away._parts) <= 2


async def test_a_share_lowers_the_cap_as_the_limit_would(away: Away) -> None:
    ask = Ask(Amounts(0, 20), Amounts(0, 1), cap=200, least=50)

    held = await take(away, "r", money("local"), ask=ask)

    assert (held.cap, held.amounts) == (80, Amounts(0, 100))
    with pytest.raises(LimitExceeded):
        await take(away, "s", money("local"), ask=ask)


async def test_what_fits_the_limit_and_no_share_is_unavailable_and_not_too_large(
    away: Away,
) -> None:
    with pytest.raises(LimitsUnavailable):
        await take(away, "r", money("local"), ask=Ask(Amounts(0, 101)))


async def test_what_was_admitted_here_is_raised_and_released_here(away: Away) -> None:
    held = await take(away, "r", money("local"), ask=Ask(Amounts(0, 60)))

    await away.extend(held, Amounts(0, 90))
    with pytest.raises((LimitExceeded, LimitsUnavailable)):
        await away.extend(held, Amounts(0, 101))
    assert held.amounts == Amounts(0, 90)
    await away.release(held, Amounts(0, 30))

    assert not away.has(held)
    await take(away, "s", money("local"), ask=Ask(Amounts(0, 70)))


async def test_what_nobody_watches_is_raised_without_a_check(away: Away) -> None:
    held = await take(away, "r", money("allow"))

    await away.extend(held, Amounts(0, 10**9))

    assert held.amounts == Amounts(0, 10**9)
    await away.release(held, NOTHING)


@pytest.mark.parametrize(("policy", "raised"), [("allow", True), ("local", False)])
async def test_what_the_store_holds_is_raised_unseen_only_where_all_that_grows_may_be(
    away: Away, policy: OnStoreError, raised: bool
) -> None:
    limits = (requests("refuse"), Limit("key:k", "concurrency", 1, AtOnce()), money(policy))
    held = Reservation("r", "acme", limits, Amounts(5, 10))

    if raised:
        away.extend_unseen(held, Amounts(5, 20))
        assert (held.amounts, away._counts.allowed_unseen) == (Amounts(5, 20), 1)
    else:
        with pytest.raises(LimitsUnavailable):
            away.extend_unseen(held, Amounts(5, 20))
        assert held.amounts == Amounts(5, 10)


async def test_without_limits_nothing_is_asked_and_nothing_is_counted(away: Away) -> None:
    held = away.unlimited(Reservation("r", "acme", ()))
    also = await take(away, "s")
    for each in (held, also):
        await away.release(each, NOTHING)

    assert away._counts == Counts()


async def test_what_is_too_large_for_a_share_is_no_news_to_who_asked(away: Away) -> None:
    with pytest.raises(LimitsUnavailable) as raised:
        await take(away, "r", requests(None), money(None), ask=Ask(Amounts(0, 500)))

    assert not isinstance(raised.value, RequestExceedsLimit)
    assert raised.value.retry_after == 1.0
