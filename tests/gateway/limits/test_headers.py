import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.headers import duration, ratelimit_headers
from gateway.limits.model import AtOnce, Calendar, Limit, Measure, Standing


def standing(measure: Measure, amount: int, remaining: int, reset: float = 1) -> Standing:
    return Standing(Limit("tenant:a", measure, amount, Calendar("day")), remaining, reset)


def test_each_kind_tells_limit_remaining_and_reset() -> None:
    headers = ratelimit_headers([standing("requests", 9, 5, 360), standing("tokens", 70, 0, 0.02)])

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
    standings = [standing("tokens", amount, min(rest, amount)) for amount, rest in pairs]

    (_, limit), (_, remaining), _ = ratelimit_headers(standings)

    told = int(remaining) / int(limit)
    assert told == min(each.remaining / each.limit.amount for each in standings)


def test_places_money_and_nothing_tell_nothing() -> None:
    places = Standing(Limit("tenant:a", "concurrency", 5, AtOnce()), 4, 0)

    assert ratelimit_headers([]) == ratelimit_headers([places, standing("money", 9, 0)]) == []
    assert len(ratelimit_headers([standing("money", 9, 0), standing("tokens", 9, 1), places])) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (0.9991, "1s"),
        (1, "1s"),
        (1.001, "2s"),
        (59.5, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (90061, "25h1m1s"),
    ],
)
def test_a_duration_is_written_as_openai_does_and_never_too_short(
    seconds: float, text: str
) -> None:
    assert duration(seconds) == text.encode()
