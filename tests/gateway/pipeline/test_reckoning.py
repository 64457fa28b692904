"""What a request can come to at most is never less than what it comes to."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import InvalidRequest
from gateway.contract.provider import Operation, Usage
from gateway.limits import MARGIN, Amounts, Limit, Limits, input_bound, prompt_tokens
from gateway.limits.model import Calendar, Sliding
from gateway.pipeline.call import Call
from gateway.pipeline.reckoning import LEAST_OUTPUT, Reckoning, Tariff
from gateway.pricing import ModelUnpriced, Price, Prices, Rates
from gateway.routing import ModelSettings

MESSAGES = [{"role": "user", "content": "How does a lock gate work?"}]
TOKENS = Limit("tenant:acme", "tokens", 10**6, Sliding(bucket_ms=1000, buckets=60))
BUDGET = Limit("tenant:acme", "money", 10**12, Calendar("month"))
PRICE = Price(Rates(150_000_000, 75_000_000, 0, 0, 600_000_000, 600_000_000, 0))
TARGET = "a/m"


def reckoning(
    *limits: Limit,
    operation: Operation = "chat",
    max_output: int | None = 100,
    price: Price | None = PRICE,
    strict: bool = False,
    **fields: Any,
) -> Reckoning:
    body = {"model": "chat", "messages": MESSAGES, **fields}
    settings = ModelSettings.model_validate(
        {"targets": [{"provider": "a", "model": "m"}], "max_output": max_output}
    )
    prices = Prices({} if price is None else {TARGET: price})
    return Reckoning(Call(operation, body, False), settings, Limits(limits), Tariff(prices, strict))


def estimate(**fields: Any) -> int:
    return prompt_tokens("chat", {"messages": MESSAGES, **fields})


def bound(**fields: Any) -> int:
    return input_bound("chat", {"model": "chat", "messages": MESSAGES, **fields})


def test_nothing_is_estimated_where_neither_tokens_nor_money_are_limited() -> None:
    own = reckoning()

    ask = own.ask(own.price(TARGET))

    assert ask.fixed == ask.each == Amounts()
    assert own.cap == 100


def test_a_cap_beyond_all_answers_is_one_that_every_limiter_can_reckon_with() -> None:
    own = reckoning(max_tokens=2**64 - 1)

    assert own.cap == own.least == 2**31


@pytest.mark.parametrize(("strict", "prompt"), [(False, estimate()), (True, bound())])
def test_tokens_are_the_prompt_the_margin_and_each_token_of_the_cap(
    strict: bool, prompt: int
) -> None:
    own = reckoning(TOKENS, strict=strict, n=3)

    ask = own.ask(own.price(TARGET))

    assert (ask.fixed.tokens, ask.each.tokens) == (prompt + MARGIN, 3)
    assert (ask.fixed.cost, ask.each.cost) == (0, 0)
    assert (ask.cap, ask.least) == (100, LEAST_OUTPUT)
    assert own.most == 3 * 100 + MARGIN


def test_a_cap_that_the_request_names_is_not_lowered() -> None:
    own = reckoning(TOKENS, max_tokens=40)

    ask = own.ask(None)

    assert (ask.cap, ask.least) == (40, 40)


@pytest.mark.parametrize("max_output", [None, 100])
def test_an_embedding_has_no_output(max_output: int | None) -> None:
    own = reckoning(TOKENS, BUDGET, operation="embedding", max_output=max_output, input="a lock")

    ask = own.ask(own.price(TARGET))

    assert (ask.cap, ask.each, own.most) == (0, Amounts(), 0)


def test_under_a_budget_a_target_without_a_price_is_refused() -> None:
    own = reckoning(BUDGET, price=None)

    with pytest.raises(ModelUnpriced):
        own.price(TARGET)


def test_without_a_budget_nobody_needs_a_price() -> None:
    assert reckoning(TOKENS, price=None).price(TARGET) is None


@pytest.mark.parametrize("limit", [TOKENS, BUDGET])
def test_an_output_that_nothing_bounds_is_refused_where_it_counts(limit: Limit) -> None:
    with pytest.raises(InvalidRequest) as refused:
        reckoning(limit, max_output=None).ask(PRICE)

    assert (refused.value.code, refused.value.param) == ("unbounded_output", "max_tokens")
    assert reckoning(limit, max_output=None, max_tokens=5).ask(PRICE).cap == 5
    assert reckoning(max_output=None).ask(None).cap == 0


def test_under_a_budget_what_can_not_be_bounded_is_refused() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/lock.png"}}
    own = reckoning(BUDGET, messages=[{"role": "user", "content": [picture]}])

    with pytest.raises(InvalidRequest):
        own.ask(PRICE)


@given(
    prompt=st.integers(0, bound()),
    cached=st.integers(0, 50),
    written=st.integers(0, 2 * 100 + MARGIN),
    choices=st.just(2),
)
def test_a_request_within_its_bounds_never_costs_more_than_was_asked_for(
    prompt: int, cached: int, written: int, choices: int
) -> None:
    own = reckoning(BUDGET, n=choices)

    most = own.ask(PRICE).at(own.cap)

    assert PRICE.cost(Usage(prompt, written, cached=cached)) <= most.cost


def test_a_faster_service_is_reserved_by_its_own_price() -> None:
    fast = Price(Rates(*[10**9] * 7))
    price = replace(PRICE, service_tiers=(("priority", fast),))
    own = reckoning(BUDGET, price=price, service_tier="priority")

    assert own.ask(price) == reckoning(BUDGET, service_tier="priority").ask(fast)
    assert own.ask(price).fixed.cost > reckoning(BUDGET).ask(price).fixed.cost


def test_our_own_count_is_the_estimate_and_the_deltas() -> None:
    assert reckoning().counted(7) == Usage(prompt=estimate(), completion=7)
