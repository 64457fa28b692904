import pytest

from gateway.contract.errors import BudgetExhausted, RequestExceedsLimit
from gateway.limits.counts import Counts
from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Sliding
from gateway.limits.refusal import check_fits, refusal

WINDOW = Sliding(bucket_ms=500, buckets=60)
MONTH = Calendar("month")


@pytest.mark.parametrize(
    ("limit", "kind", "text"),
    [
        (
            Limit("tenant:a", "requests", 9, WINDOW),
            "requests",
            "Rate limit reached for requests: 9 per 30 s. Please try again in 1.25 s.",
        ),
        (
            Limit("tenant:a", "tokens", 9, Calendar("day")),
            "tokens",
            "Rate limit reached for tokens: 9 per day. Please try again in 1.25 s.",
        ),
        (
            Limit("tenant:a", "concurrency", 9, AtOnce()),
            "requests",
            "Rate limit reached for concurrency: 9 at once. Please try again in 1.25 s.",
        ),
        (
            Limit("tenant:a", "money", 20_500_000_000, MONTH),
            "insufficient_quota",
            "You exceeded your current quota: $20.5 per month. It begins anew in 1.25 s.",
        ),
    ],
)
def test_a_refusal_says_what_is_used_up_and_how_long_to_wait(
    limit: Limit, kind: str, text: str
) -> None:
    error = refusal(limit, 1250, ())

    assert (error.message, error.type, error.retry_after) == (text, kind, 1.25)
    assert isinstance(error, BudgetExhausted) == (limit.measure == "money")
    assert error.measure == limit.measure


def test_what_can_never_fit_is_refused_and_what_just_fits_is_not() -> None:
    counts = Counts()
    limits = (Limit("tenant:a", "tokens", 9, WINDOW),)

    assert check_fits(limits, Ask(Amounts(9)), counts) == 0
    with pytest.raises(RequestExceedsLimit, match="needs 10 tokens, but the limit is 9 per 30 s"):
        check_fits(limits, Ask(Amounts(10)), counts)

    assert counts == Counts(too_large=1)


def test_a_calendar_limit_refuses_only_what_not_even_the_least_cap_makes_fit() -> None:
    limits = (
        Limit("tenant:a", "money", 1_000, MONTH),
        Limit("tenant:a", "tokens", 60, Calendar("day")),
    )
    ask = Ask(Amounts(10, 100), Amounts(1, 10), cap=200, least=50)

    assert check_fits(limits, ask, Counts()) == 50
    dearer = Ask(Amounts(10, 100), Amounts(1, 20), cap=200, least=50)
    with pytest.raises(RequestExceedsLimit, match=r"\$0.0000011, but .* \$0.000001 per month"):
        check_fits(limits, dearer, Counts())


def test_a_sliding_window_must_be_able_to_hold_the_whole_cap() -> None:
    limits = (Limit("tenant:a", "tokens", 100, WINDOW),)

    with pytest.raises(RequestExceedsLimit, match="needs 210 tokens"):
        check_fits(limits, Ask(Amounts(10), Amounts(1), cap=200, least=50), Counts())
