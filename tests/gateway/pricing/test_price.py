"""Every token is priced once, the sum is rounded up once, and no bound is ever too low."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.provider import Usage
from gateway.pricing import FREE, Price, Rates

PLAIN = Rates(2_500, 1_250, 3_125, 40_000, 10_000, 10_000, 80_000)

rates = st.builds(Rates, *[st.integers(0, 10**14)] * 7)
starts = st.lists(st.integers(1, 1000), unique=True, max_size=3).map(sorted)
prices = starts.flatmap(
    lambda above: st.builds(
        Price,
        rates,
        per_request=st.integers(0, 10**9),
        tiers=st.tuples(*[st.tuples(st.just(each), rates) for each in above]),
    )
)
counts = st.integers(-10, 2000)
usages = st.builds(Usage, *[counts] * 7)


def test_every_kind_of_token_is_priced_by_its_own_rate() -> None:
    million = 10**6
    usage = Usage(
        10 * million,
        5 * million,
        cached=million,
        cache_written=2 * million,
        audio_prompt=3 * million,
        reasoning=million,
        audio_completion=million,
    )
    parts = Rates(4, 1, 2, 3, 3, 1, 1)  # millions of each

    assert Price(PLAIN).cost(usage) == sum(
        count * rate for count, rate in zip(parts, PLAIN, strict=True)
    )


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(0, 0), 0),
        (Usage(1, 0), 1),  # 2,500 nano-dollars a million tokens, so 0.0025 each
        (Usage(400, 0), 1),
        (Usage(401, 0), 2),
        (Usage(400, 100), 2),
        (Usage(401, 100), 3),  # 2.0025: the sum is rounded, not its parts
    ],
)
def test_a_cost_is_rounded_up_once(usage: Usage, cost: int) -> None:
    assert Price(PLAIN).cost(usage) == cost


@given(prices, counts, counts)
def test_parts_of_less_than_nothing_are_none(price: Price, prompt: int, completion: int) -> None:
    assert price.cost(Usage(prompt, completion, *[-1] * 5)) == price.cost(Usage(prompt, completion))


def test_a_request_may_cost_something_beside_its_tokens() -> None:
    price = Price(PLAIN, per_request=7)

    assert price.cost(Usage(0, 0)) == 7
    assert price.cost(Usage(401, 0)) == 9
    assert price.input_bound(401) == 7 + -(-401 * 40_000 // 10**6)  # perhaps all of it is sound


def test_another_service_has_a_price_of_its_own() -> None:
    fast = Price(Rates(*[4 * 10**6] * 7), per_request=3)
    price = Price(Rates(*[10**6] * 7), per_request=3, service_tiers=(("priority", fast),))

    assert price.at("priority") is fast
    assert price.at("flex") is price.at("auto") is price.at(None) is price.at([]) is price
    assert price.cost(Usage(10, 10, service_tier="priority")) == 83
    assert price.cost(Usage(10, 10, service_tier="flex")) == price.cost(Usage(10, 10)) == 23
    assert fast.cost(Usage(10, 10)) == 83


def test_a_long_prompt_changes_the_rates_of_the_whole_request() -> None:
    long, longer = PLAIN._replace(input=10**6, output=10**6), PLAIN._replace(input=10**7)
    price = Price(PLAIN._replace(input=10**5), tiers=((1000, long), (2000, longer)))

    assert price.cost(Usage(1000, 0)) == 100
    assert price.cost(Usage(1001, 100)) == 1101
    assert price.cost(Usage(2000, 0)) == 2000
    assert price.cost(Usage(2001, 0)) == 20_010


@given(prices, usages)
def test_a_report_that_makes_no_sense_costs_nothing_negative_and_nothing_twice(
    price: Price, usage: Usage
) -> None:
    cost = price.cost(usage)
    tokens = max(0, usage.prompt), max(0, usage.completion)
    dearest = [price.rates, *(each for _, each in price.tiers)]
    most = max(each.dearest_input for each in dearest), max(each.dearest_output for each in dearest)

    assert price.per_request <= cost
    assert cost - price.per_request < 1 + Fraction(tokens[0] * most[0] + tokens[1] * most[1], 10**6)


@given(prices, usages, st.integers(0, 3000), st.integers(0, 3000))
def test_what_was_reserved_covers_every_usage_within_its_bounds(
    price: Price, usage: Usage, more_input: int, more_output: int
) -> None:
    prompt, completion = max(0, usage.prompt) + more_input, max(0, usage.completion) + more_output

    bound = price.input_bound(prompt) + completion * price.per_output_token

    assert price.cost(usage) <= bound


@given(prices, st.integers(0, 2000))
def test_a_bound_never_falls_as_a_prompt_grows(price: Price, tokens: int) -> None:
    assert price.input_bound(tokens) <= price.input_bound(tokens + 1)


def test_what_is_free_costs_nothing() -> None:
    assert FREE.cost(Usage(10**9, 10**9)) == FREE.input_bound(10**9) == FREE.per_output_token == 0
