import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.headers import duration, ratelimit_headers
from gateway.limits.model import (
    DAY_MS,
    AtOnce,
    Calendar,
    Instant,
    Limit,
    Limits,
    Measure,
    Sliding,
    Standings,
    Window,
)

DAY = Calendar("day")
NOW = Instant(steady=0, wall=DAY_MS - 20)


def standings(*told: tuple[Measure, int, int], window: Window = DAY) -> Standings:
    """Of limits that are told by what they count, their amount, and what is left of it."""
    limits = Limits(Limit("tenant:a", measure, amount, window) for measure, amount, _ in told)
    return Standings(limits, [left for *_, left in told], NOW)


def test_each_kind_tells_limit_remaining_and_reset() -> None:
    minutes = Limit("tenant:a", "requests", 9, Sliding(bucket_ms=60_000, buckets=5))
    day = Limit("tenant:a", "tokens", 70, DAY)

    headers = ratelimit_headers(Standings(Limits((minutes, day)), [5, 0], NOW))

    assert headers == [
        (b"x-ratelimit-limit-requests", b"9"),
        (b"x-ratelimit-remaining-requests", b"5"),
        (b"x-ratelimit-reset-requests", b"6m0s"),
        (b"x-ratelimit-limit-tokens", b"70"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", b"20ms"),
    ]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1))
def test_the_limit_with_the_smallest_remaining_share_speaks(pairs: list[tuple[int, int]]) -> None:
    all_of_them = standings(*(("tokens", amount, min(rest, amount)) for amount, rest in pairs))

    (_, limit), (_, remaining), _ = ratelimit_headers(all_of_them)

    told = int(remaining) / int(limit)
    assert told == min(each.remaining / each.limit.amount for each in all_of_them)


def test_of_two_limits_of_a_kind_the_nearer_one_speaks_wherever_it_stands() -> None:
    near, far = ("tokens", 10, 1), ("tokens", 9, 5)

    assert ratelimit_headers(standings(near, far)) == ratelimit_headers(standings(near))
    assert ratelimit_headers(standings(far, near)) == ratelimit_headers(standings(near))


def test_places_money_and_nothing_tell_nothing() -> None:
    untold: tuple[tuple[Measure, int, int], ...] = (("concurrency", 5, 4), ("money", 9, 0))

    assert ratelimit_headers(standings()) == ratelimit_headers(standings(*untold)) == []
    assert len(ratelimit_headers(standings(*untold, ("tokens", 9, 1), window=AtOnce()))) == 3


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"),
        (1, "1ms"),
        (20, "20ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1001, "2s"),
        (59_500, "1m0s"),
        (360_000, "6m0s"),
        (3_600_000, "1h0m0s"),
        (90_061_000, "25h1m1s"),
    ],
)
def test_a_duration_is_written_as_openai_does_and_never_too_short(ms: int, text: str) -> None:
    assert duration(ms) == text.encode()
