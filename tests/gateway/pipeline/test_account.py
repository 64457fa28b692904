"""Money: what a request holds, moves on with, is charged, and leaves in the ledger."""

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from gateway.contract.errors import (
    AccessRevoked,
    BudgetExhausted,
    GatewayError,
    LedgerFull,
    ProviderError,
    ProviderRefused,
)
from gateway.contract.provider import Usage
from gateway.limits import input_bound, prompt_tokens
from gateway.pipeline import Tariff
from gateway.pipeline.account import ABSURD
from gateway.pricing import ModelUnpriced, Price, Prices, Rates
from tests.support.pipeline import (
    DONE,
    FINISH,
    GOOD,
    GOOD_WHOLE,
    HANGS_UP,
    MESSAGES,
    STREAM,
    Bench,
    Gate,
    completion,
    pipeline_of,
    refuses,
    says_whole,
    streams,
    text,
    usage,
)

NANO = 10**9
MARGIN = 64


def price(usd_in: float, usd_out: float) -> Price:
    """USD for a million tokens."""
    read, written = round(usd_in * NANO), round(usd_out * NANO)
    return Price(Rates(read, read, read, read, written, written, written))


CHEAP, DEAR = price(1, 2), price(10, 20)
COST = CHEAP.cost(Usage(7, 2))
"""Of the good answers."""


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": MESSAGES, "stream": True, **fields}


def most(of: Price, cap: int = 100, **fields: Any) -> int:
    """What a request may come to at that price."""
    return (
        of.input_bound(input_bound("chat", body(**fields))) + (cap + MARGIN) * of.per_output_token
    )


def priced(**targets: Price | None) -> Tariff:
    known = {f"{name}/m": each for name, each in targets.items() if each is not None}
    return Tariff(Prices(known))


def usd(nano: int) -> str:
    return f"{nano / NANO:.9f} USD/month"


def entries(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(entry) for entry in bench.limiter.entries]


async def refused(bench: Bench, **fields: Any) -> GatewayError | ProviderError:
    with pytest.raises((GatewayError, ProviderError)) as raised:
        await bench.ask(**fields)
    bench.check_nothing_is_left()
    return raised.value


async def test_a_request_holds_the_most_it_may_cost_and_is_charged_what_it_did() -> None:
    bench = pipeline_of(GOOD, plan={"budget": "1 USD/day"}, tariff=priced(a=CHEAP))

    await bench.ask()

    assert bench.limiter.spent == [(most(CHEAP), COST)]
    assert (bench.record.cost, bench.record.priced) == (COST, True)
    [entry] = entries(bench)
    assert (entry["cost"], entry["prompt_tokens"], entry["completion_tokens"]) == (COST, 7, 2)
    assert entry["attempts"][0]["cost"] == COST
    bench.check_nothing_is_left()


async def test_without_a_budget_costs_are_counted_and_nothing_is_held() -> None:
    bench = pipeline_of(GOOD, tariff=priced(a=CHEAP))

    await bench.ask()

    assert bench.limiter.spent == [(0, COST)]


async def test_without_a_price_a_request_has_no_cost_and_the_ledger_says_so() -> None:
    bench = pipeline_of(GOOD)

    await bench.ask()

    [entry] = entries(bench)
    assert (entry["cost"], entry["priced"]) == (0, False)


async def test_under_a_budget_a_target_without_a_price_is_passed_over() -> None:
    bench = pipeline_of(GOOD, GOOD, plan={"budget": "1 USD/day"}, tariff=priced(a=None, b=CHEAP))

    await bench.ask()

    assert bench.upstreams.asked == ["b"]
    assert bench.limiter.spent == [(most(CHEAP), COST)]


async def test_under_a_budget_a_model_without_any_price_is_refused_before_anything_is_taken() -> (
    None
):
    bench = pipeline_of(GOOD, plan={"budget": "1 USD/day", "requests": "1/minute"})

    assert type(await refused(bench)) is ModelUnpriced

    assert bench.upstreams.asked == []
    assert bench.limiter.entries == []
    assert not bench.record.admitted


async def test_a_reservation_moves_up_before_a_request_goes_on_to_a_dearer_target() -> None:
    bench = pipeline_of(
        refuses(503), GOOD, plan={"budget": "1 USD/day"}, tariff=priced(a=CHEAP, b=DEAR)
    )

    await bench.ask()

    assert bench.upstreams.asked == ["a", "b"]
    assert bench.limiter.spent == [(most(DEAR), DEAR.cost(Usage(7, 2)))]
    assert bench.record.reserved_cost == most(DEAR)


async def test_a_reservation_stays_where_it_is_for_a_cheaper_target() -> None:
    bench = pipeline_of(
        refuses(503), GOOD, plan={"budget": "1 USD/day"}, tariff=priced(a=DEAR, b=CHEAP)
    )

    await bench.ask()

    assert bench.limiter.spent == [(most(DEAR), COST)]


async def test_a_target_that_is_too_dear_is_passed_over_on_the_way() -> None:
    budget = usd(most(CHEAP, max_tokens=100) + 5)
    bench = pipeline_of(
        refuses(503),
        GOOD,
        GOOD,
        plan={"budget": budget},
        tariff=priced(a=CHEAP, b=DEAR, c=CHEAP),
    )

    await bench.ask(max_tokens=100)

    assert bench.upstreams.asked == ["a", "c"]


async def test_when_only_dearer_targets_are_left_the_client_hears_of_the_one_that_failed() -> None:
    budget = usd(most(CHEAP, max_tokens=100) + 5)
    bench = pipeline_of(refuses(503), GOOD, plan={"budget": budget}, tariff=priced(a=CHEAP, b=DEAR))

    error = await refused(bench, max_tokens=100)

    assert type(error) is ProviderRefused  # repeating it may help, which a spent budget denies
    assert bench.upstreams.asked == ["a"]
    assert bench.limiter.spent == [(most(CHEAP, max_tokens=100), 0)]


async def test_a_target_that_is_too_dear_is_too_dear_when_its_name_comes_again() -> None:
    budget = usd(most(CHEAP, max_tokens=100) + 5)
    bench = pipeline_of(
        refuses(503),
        GOOD,
        plan={"budget": budget},
        tariff=priced(a=CHEAP, b=DEAR),
        targets=[{"provider": name, "model": "m"} for name in "abb"],
    )

    await refused(bench, max_tokens=100)

    assert bench.upstreams.asked == ["a"]


async def test_a_budget_lowers_the_cap_of_a_request_that_names_none() -> None:
    budget = most(CHEAP, cap=70) + 1
    bench = pipeline_of(GOOD, plan={"budget": usd(budget)}, tariff=priced(a=CHEAP))
    request = bench.request()

    await bench.ask(request)

    [sent] = bench.upstreams.requests
    assert json.loads(sent.content)["max_tokens"] == 70
    assert request.account is not None
    assert request.account.lowered_cap == 70
    assert bench.limiter.spent == [(most(CHEAP, cap=70), COST)]


async def test_a_cap_that_the_request_names_is_kept_or_the_request_refused() -> None:
    bench = pipeline_of(
        GOOD, plan={"budget": usd(most(CHEAP, max_tokens=100))}, tariff=priced(a=CHEAP)
    )
    gate = Gate()
    bench.limiter.settling = gate
    gate.open()
    await bench.ask(max_tokens=100)

    error = await refused(bench, max_tokens=100)

    assert isinstance(error, BudgetExhausted)
    assert (error.status, error.type, error.retryable) == (429, "insufficient_quota", False)
    assert bench.heard.records[-1].limited_by == "money"
    assert len(bench.limiter.entries) == 1


async def test_an_attempt_that_may_have_been_worked_on_is_the_operators_cost() -> None:
    bench = pipeline_of(
        HANGS_UP, GOOD_WHOLE, plan={"budget": "1 USD/day"}, tariff=priced(a=DEAR, b=CHEAP)
    )

    await bench.ask(stream=False)

    [entry] = entries(bench)
    first, second = entry["attempts"]
    assert first["cost"] > 0
    assert second["cost"] == entry["cost"] == COST


async def test_an_attempt_that_was_refused_costs_nobody_anything() -> None:
    bench = pipeline_of(refuses(503), GOOD, tariff=priced(a=DEAR, b=CHEAP))

    await bench.ask()

    assert entries(bench)[0]["attempts"][0]["cost"] == 0


async def test_a_request_that_no_target_answered_has_a_row_and_costs_nothing() -> None:
    bench = pipeline_of(
        refuses(503), retries={"attempts": 1}, tariff=priced(a=CHEAP), plan={"budget": "1 USD/day"}
    )

    await refused(bench)

    [entry] = entries(bench)
    assert (entry["outcome"], entry["cost"], entry["prompt_tokens"]) == ("failed", 0, 0)
    assert bench.limiter.spent == [(most(CHEAP), 0)]


async def test_an_upstream_that_reports_absurd_numbers_is_charged_what_was_reserved() -> None:
    absurd = says_whole(completion(tokens=(10**6, 10**6)))
    bench = pipeline_of(absurd, plan={"tokens": "100000/minute"}, tariff=priced(a=CHEAP))

    await bench.ask(stream=False)

    assert bench.record.usage_source == "upper_bound"
    reserved, charged = bench.limiter.settled[0]
    assert charged == reserved
    assert reserved * ABSURD < 10**6


async def test_what_a_cut_stream_has_used_so_far_is_charged_by_our_own_count() -> None:
    bench = pipeline_of(
        streams(text("a"), text("b")), plan={"budget": "1 USD/day"}, tariff=priced(a=CHEAP)
    )

    await refused(bench)

    [entry] = entries(bench)
    assert (entry["outcome"], entry["usage_source"], entry["completion_tokens"]) == (
        "cut",
        "counted",
        2,
    )
    assert entry["cost"] == CHEAP.cost(Usage(entry["prompt_tokens"], 2))


async def test_progress_is_what_has_passed_so_far() -> None:
    gate = Gate()
    bench = pipeline_of(
        streams(text("a"), text("b"), gate, FINISH, usage(7, 2), DONE),
        plan={"budget": "1 USD/day"},
        tariff=priced(a=CHEAP),
    )
    request = bench.request()
    async with request as own:
        caller = await own.identify({b"authorization": [f"Bearer {bench.key}".encode()]})
        answer = await own.answer(caller, body(), stream=True)
        [held] = bench.limiter.held.values()
        assert held.progress is not None
        before = held.progress()
        gate.open()
        await bench.relay(answer)
        after = held.progress()

    prompt = before.tokens - 1
    assert before.cost == CHEAP.cost(Usage(prompt, 1))
    assert (after.tokens, after.cost) == (9, COST)


async def test_the_note_says_whose_request_it_is_before_it_is_admitted() -> None:
    plan = {"tokens": "100000/minute"}
    bench = pipeline_of(GOOD, plan=plan, tariff=priced(a=CHEAP))

    await bench.ask()

    [note] = [json.loads(each) for each in bench.limiter.notes]
    assert (note["prompt_tokens"], note["priced"]) == (prompt_tokens("chat", body()), True)
    assert (note["tenant"], note["model"], note["request_id"]) == (
        "acme",
        "chat",
        bench.record.request_id,
    )


async def test_while_the_ledger_is_full_nothing_is_admitted() -> None:
    bench = pipeline_of(GOOD)
    bench.pipeline._ledger_is_full = lambda: True

    assert type(await refused(bench)) is LedgerFull

    assert bench.upstreams.asked == []


async def test_a_row_lies_in_the_period_that_was_charged() -> None:
    bench = pipeline_of(GOOD, plan={"budget": "1 USD/day"}, tariff=priced(a=CHEAP))

    await bench.ask()

    [entry] = entries(bench)
    assert bench.record.admitted_at is not None
    assert datetime.fromisoformat(entry["at"]) == bench.record.admitted_at


async def test_a_prompt_that_an_upstream_may_have_had_is_charged_whatever_ends_it() -> None:
    gate = Gate()
    bench = pipeline_of(streams(gate, *STREAM), tariff=priced(a=CHEAP))

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(refused(bench))
        await gate.reached.wait()
        bench.pipeline.cut(AccessRevoked())

    assert type(asking.result()) is AccessRevoked
    [entry] = entries(bench)
    assert entry["usage_source"] == "counted"
    assert entry["cost"] == CHEAP.cost(Usage(entry["prompt_tokens"], 0)) > 0


async def test_what_is_free_for_want_of_a_price_is_not_called_priced() -> None:
    tariff = Tariff(Prices({}, unpriced="free"))
    bench = pipeline_of(GOOD, plan={"budget": "1 USD/day"}, tariff=tariff)

    await bench.ask()

    [entry] = entries(bench)
    assert (entry["cost"], entry["priced"]) == (0, False)
