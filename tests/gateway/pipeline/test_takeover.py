"""Another target goes on with a stream that broke off: asked, billed and told of rightly."""

import asyncio
import json
from typing import Any

import httpx
import orjson
import pytest

from gateway.contract.errors import (
    AccessRevoked,
    ProviderDisconnected,
    ProviderDiverged,
    ProviderError,
    ProviderTimedOut,
)
from gateway.contract.provider import Usage
from gateway.health import HealthSettings
from gateway.inbound.rename import Renamer
from gateway.pipeline import ClientHungUp, Streamed, Tariff
from gateway.pricing import Price, Prices, Rates
from tests.support.pipeline import (
    DONE,
    HEADERS,
    MESSAGES,
    UNREACHABLE,
    Bench,
    Gate,
    Says,
    Step,
    event,
    pipeline_of,
    refuses,
    streams,
)

RESET = httpx.ReadError("reset")
WORDS = ("Hel", "lo", " you", ".")


def said(number: int, content: str, *, prompt: int = 7, reason: str | None = None) -> bytes:
    """An event that tells how many tokens it took to get there."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    return event({"id": "x", "choices": [choice], "usage": usage(prompt, number)})


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def whole(*words: str, prompt: int = 7) -> tuple[bytes, ...]:
    """A good stream."""
    spoken = [said(number, word, prompt=prompt) for number, word in enumerate(words, 1)]
    end = said(len(words), "", prompt=prompt, reason="stop")
    last = event({"id": "x", "choices": [], "usage": usage(prompt, len(words))})
    return (*spoken, end, last, DONE)


def broken(*words: str, by: Step = RESET) -> Says:
    """A stream that ends after those words."""
    return streams(*whole(*words)[: len(words)], by)


REST = streams(*whole(" you", ".", prompt=12))
"""What follows `Hello`."""


class Client:
    """Reads a stream as a relay passes it on."""

    def __init__(self, bench: Bench, **fields: Any) -> None:
        self.request = bench.request()
        self.text = ""
        self._fields = {"model": "chat", "messages": MESSAGES, "stream": True, **fields}
        self._renamer = Renamer("chat", hide_usage=False)

    async def read(self) -> None:
        async with self.request as own:
            answer = await own.answer(await own.identify(HEADERS), self._fields, stream=True)
            assert isinstance(answer, Streamed)
            batch = answer.held
            while batch:
                for piece in batch:
                    self._take(self._renamer.event(*piece))
                batch = await answer.rest.next()

    def _take(self, raw: bytes) -> None:
        if raw != DONE:
            for choice in orjson.loads(raw.removeprefix(b"data: "))["choices"]:
                self.text += choice["delta"].get("content") or ""


def resuming(*answers: Any, **settings: Any) -> Bench:
    return pipeline_of(*answers, **{"resume": True, **settings})


def asked(bench: Bench, number: int) -> Any:
    return json.loads(bench.upstreams.requests[number].content)


async def read(bench: Bench, **fields: Any) -> str:
    client = Client(bench, **fields)
    await client.read()
    bench.check_nothing_is_left()
    return client.text


async def breaks_off(bench: Bench, kind: type[ProviderError], **fields: Any) -> str:
    client = Client(bench, **fields)
    with pytest.raises(kind):
        await client.read()
    bench.check_nothing_is_left()
    assert bench.record.outcome == "cut"
    return client.text


ENDS = {
    "reset": RESET,
    "cut": b"",
    "garbage": b"data: {\n\n",
    "stall": 1000.0,
    "abort": said(3, "", reason="abort"),
    "error": event({"error": {"message": "told", "code": 500}}),
    "too large": b"data: " + b"x" * (1 << 20),
    "done too soon": DONE,
    "broken framing": httpx.RemoteProtocolError("chunk"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_however_a_stream_breaks_off_another_target_goes_on(end: Step) -> None:
    bench = resuming(broken("Hel", "lo", by=end), REST)

    assert await read(bench) == "Hello you."

    record = bench.record
    assert bench.upstreams.asked == ["a", "b"]
    assert (record.outcome, record.error, record.target) == ("ok", None, "b/m")
    assert [each.error is None for each in record.attempts] == [False, True]
    assert (record.prompt_tokens, record.completion_tokens) == (7, 4)
    assert (record.usage_source, record.finish_reasons) == ("measured", ("stop",))


async def test_the_other_target_is_asked_for_the_rest() -> None:
    bench = resuming(broken("Hel", "lo"), REST)

    await read(bench, max_tokens=50)

    assert asked(bench, 0)["stream_options"]["continuous_usage_stats"]
    assert asked(bench, 1) == asked(bench, 0) | {
        "messages": [*MESSAGES, {"role": "assistant", "content": "Hello"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "max_tokens": 48,
    }


async def test_the_models_own_cap_holds_for_the_whole_too() -> None:
    bench = resuming(broken("Hel", "lo"), REST, max_output=100)

    await read(bench)

    assert (asked(bench, 0)["max_tokens"], asked(bench, 1)["max_tokens"]) == (100, 98)


async def test_without_the_setting_a_stream_that_breaks_off_is_an_error() -> None:
    bench = pipeline_of(broken("Hel", "lo"), REST)

    assert await breaks_off(bench, ProviderDisconnected) == "Hello"

    assert bench.upstreams.asked == ["a"]
    assert "continuous_usage_stats" not in asked(bench, 0)["stream_options"]


@pytest.mark.parametrize("fields", [{"stop": ["x"]}, {"n": 2}, {"max_tokens": 2}], ids=str)
async def test_what_could_not_be_exact_is_an_error_as_ever(fields: dict[str, Any]) -> None:
    bench = resuming(broken("Hel", "lo"), REST)

    assert await breaks_off(bench, ProviderDisconnected, **fields) == "Hello"

    assert bench.upstreams.asked == ["a"]


async def test_it_may_break_off_again() -> None:
    bench = resuming(broken("Hel"), broken("lo"), REST)

    assert await read(bench) == "Hello you."

    assert bench.upstreams.asked == ["a", "b", "c"]
    assert (bench.record.prompt_tokens, bench.record.completion_tokens) == (7, 4)


async def test_the_attempts_are_those_of_the_request() -> None:
    bench = resuming(broken("Hel"), broken("lo"), REST, retries={"attempts": 2})

    assert await breaks_off(bench, ProviderDisconnected) == "Hello"

    assert bench.upstreams.asked == ["a", "b"]


async def test_a_target_that_refuses_to_go_on_is_passed_over() -> None:
    bench = resuming(broken("Hel", "lo"), refuses(503), REST)

    assert await read(bench) == "Hello you."

    assert [each.error for each in bench.record.attempts] == [
        "upstream_disconnected",
        "upstream_error",
        None,
    ]


@pytest.mark.parametrize("other", [refuses(400), refuses(503), UNREACHABLE], ids=str)
async def test_where_nobody_goes_on_the_end_is_the_one_that_came(other: Says) -> None:
    bench = resuming(broken("Hel", "lo"), other)

    assert await breaks_off(bench, ProviderDisconnected) == "Hello"

    record = bench.record
    assert (record.error, record.target) == ("upstream_disconnected", "a/m")
    assert (record.prompt_tokens, record.completion_tokens) == (7, 2)
    assert record.usage_source == "measured"


async def test_a_target_is_not_asked_to_go_on_with_what_it_broke_off() -> None:
    bench = resuming([broken("Hel", "lo"), REST])

    assert await breaks_off(bench, ProviderDisconnected) == "Hello"

    assert bench.upstreams.asked == ["a"]


async def test_the_time_of_the_request_is_not_stretched() -> None:
    bench = resuming(broken("Hel", "lo", by=100.0), REST, timeouts={"total": 10, "stall": 50})

    assert await breaks_off(bench, ProviderTimedOut) == "Hello"

    assert bench.upstreams.asked == ["a"]


async def test_a_rest_has_its_own_time_until_its_first_content() -> None:
    first = streams(*whole("Hel", "lo")[:2], 8.0, RESET)
    late = streams(*whole(" you", "."), before=(4.0,))
    bench = resuming(first, late, timeouts={"first_content": 5, "stall": 20})

    assert await read(bench) == "Hello you."


async def test_what_goes_on_otherwise_is_nobodys_fault() -> None:
    spaced = streams(*whole("One.", "\n\n")[:2], RESET)
    bench = resuming(spaced, streams(*whole(" ", "Or")))

    assert await breaks_off(bench, ProviderDiverged) == "One.\n\n"

    assert bench.health.is_up("b/m")
    assert bench.record.error == "upstream_diverged"


async def test_white_space_that_was_said_twice_is_billed_once() -> None:
    spaced = streams(*whole("One.", "\n\n")[:2], RESET)
    bench = resuming(spaced, streams(*whole("\n\n", "Two.")))

    assert await read(bench) == "One.\n\nTwo."

    assert bench.record.completion_tokens == 3


# Money

NANO = 10**9


def price(usd_in: float, usd_out: float) -> Price:
    read_, written = round(usd_in * NANO), round(usd_out * NANO)
    return Price(Rates(read_, read_, read_, read_, written, written, written))


CHEAP, DEAR = price(1, 2), price(10, 20)
TARIFF = Tariff(Prices({"a/m": CHEAP, "b/m": DEAR}))
BUDGET = {"budget": "1 USD/month"}


async def test_every_attempt_costs_what_it_did_and_the_caller_pays_for_one_answer() -> None:
    bench = resuming(broken("Hel", "lo"), REST, tariff=TARIFF, plan=BUDGET)

    await read(bench)

    record = bench.record
    assert record.cost == DEAR.cost(Usage(7, 4))
    assert [each.cost for each in record.attempts] == [
        CHEAP.cost(Usage(7, 2)),
        DEAR.cost(Usage(12, 2)),
    ]
    [(reserved, charged)] = bench.limiter.spent
    assert charged == record.cost <= reserved


async def test_a_dearer_target_that_does_not_go_on_changes_no_price() -> None:
    bench = resuming(broken("Hel", "lo"), refuses(503), tariff=TARIFF, plan=BUDGET)

    await breaks_off(bench, ProviderDisconnected)

    assert bench.record.cost == CHEAP.cost(Usage(7, 2))
    assert [each.cost for each in bench.record.attempts] == [bench.record.cost, 0]


async def test_a_dearer_target_that_the_budget_does_not_bear_is_not_asked() -> None:
    bench = resuming(broken("Hel", "lo"), REST, tariff=TARIFF, plan={"budget": "0.0009 USD/month"})

    assert await breaks_off(bench, ProviderDisconnected) == "Hello"

    assert bench.upstreams.asked == ["a"]


async def test_the_ledger_has_one_row_with_both_attempts() -> None:
    bench = resuming(broken("Hel", "lo"), REST)

    await read(bench)

    [row] = [json.loads(entry) for entry in bench.limiter.entries]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (7, 4)
    assert [each["target"] for each in row["attempts"]] == ["a/m", "b/m"]
    assert bench.limiter.settled == [(bench.record.reserved_tokens, 11)]


# Whoever leaves meanwhile


async def hang_up(client: Client, gate: Gate, error: Exception) -> None:
    """End a request that has come so far."""
    await gate.reached.wait()
    client.request.interrupt(error)


@pytest.mark.parametrize("error", [ClientHungUp(), AccessRevoked()], ids=["left", "revoked"])
@pytest.mark.parametrize("where", ["before it breaks off", "while another is asked", "in the rest"])
async def test_a_request_that_ends_meanwhile_leaves_nothing(where: str, error: Exception) -> None:
    gate = Gate()
    first, rest = broken("Hel", "lo"), REST
    if where == "before it breaks off":
        first = broken("Hel", "lo", by=gate)
    elif where == "while another is asked":
        rest = streams(*REST.steps, before=(gate,))
    else:
        rest = streams(REST.steps[0], gate)
    bench = resuming(first, rest)
    client = Client(bench)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hang_up(client, gate, error))
        with pytest.raises(type(error)):
            await client.read()

    bench.check_nothing_is_left()
    assert client.text == ("Hello you" if where == "in the rest" else "Hello")
    assert bench.record.prompt_tokens == 7
    assert bench.record.completion_tokens == (3 if where == "in the rest" else 2)


async def test_a_hang_up_asks_nobody_to_go_on() -> None:
    gate = Gate()
    drains = {"on_hang_up": "drain"}
    bench = resuming(
        streams(*whole("Hel", "lo")[:2], gate, RESET), REST, providers={"a": drains, "b": drains}
    )
    client = Client(bench)

    async def leave() -> None:
        await hang_up(client, gate, ClientHungUp())
        gate.open()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leave())
        with pytest.raises(ClientHungUp):
            await client.read()

    bench.check_nothing_is_left()
    assert bench.upstreams.asked == ["a"]


async def test_health_hears_of_the_target_that_broke_off() -> None:
    bench = resuming(broken("Hel", "lo"), REST, health=HealthSettings(consecutive_failures=1))

    await read(bench)

    assert not bench.health.is_up("a/m")
    assert bench.health.is_up("b/m")


async def test_a_retry_budget_bounds_it() -> None:
    bench = resuming(broken("Hel", "lo"), REST)
    while bench.health.may_retry("b/m"):
        pass

    assert await breaks_off(bench, ProviderDisconnected) == "Hello"

    assert bench.upstreams.asked == ["a"]
