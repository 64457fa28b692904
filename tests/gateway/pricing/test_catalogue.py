"""Our prices are those of genai-prices, to the nano-dollar, for every model that tokens price."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal

import pytest
from genai_prices import Usage as ListedUsage
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.provider import Usage
from gateway.pricing import Price, Rates
from gateway.pricing.catalogue import Catalogue, price_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue(NOW)
USD = Decimal(10**9)

LISTED = [
    (provider, model, price)
    for provider in providers
    for model in provider.models
    if provider.id.startswith(("openai", "huggingface", "groq", "google", "anthropic", "mistral"))
    and (price := price_of(model.get_prices(NOW), "list")) is not None
]


def theirs(usage: Usage) -> ListedUsage:
    """The same tokens in the words of genai-prices, which wants to know that none is two kinds."""
    return ListedUsage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_written,
        input_audio_tokens=usage.audio_prompt,
        cache_audio_read_tokens=0,
        cache_audio_write_tokens=0,
        cache_write_1h_tokens=0,
        output_tokens=usage.completion,
        output_reasoning_tokens=usage.reasoning,
        output_audio_tokens=usage.audio_completion,
        output_audio_reasoning_tokens=0,
    )


@st.composite
def usages(draw: st.DrawFn, *, output: bool = True) -> Usage:
    cached, written, audio, text = (draw(st.integers(0, 150_000)) for _ in range(4))
    thought, spoken, said = (draw(st.integers(0, 50_000 * output)) for _ in range(3))
    return Usage(
        cached + written + audio + text,
        thought + spoken + said,
        cached=cached,
        reasoning=thought,
        cache_written=written,
        audio_prompt=audio,
        audio_completion=spoken,
    )


def whole(prices: ModelPrice) -> bool:
    """Whether nano-dollars hold each of the prices; a few lists carry the dust of a float."""
    return all(
        (number * USD) % 1 == 0
        for price in vars(prices).values()
        if price is not None
        for number in _numbers(price)
    )


def _numbers(price: Decimal | TieredPrices) -> list[Decimal]:
    return (
        [price]
        if isinstance(price, Decimal)
        else [price.base, *(tier.price for tier in price.tiers)]
    )


@given(st.data())
def test_a_cost_is_that_of_genai_prices_rounded_up(data: st.DataObject) -> None:
    provider, model, ours = data.draw(st.sampled_from(LISTED))
    listed = model.get_prices(NOW)
    usage = data.draw(usages(output=listed.output_mtok is not None))

    total = model.calc_price(theirs(usage), provider, genai_request_timestamp=NOW).total_price

    expected = int((total * USD).to_integral_value(ROUND_CEILING))
    if whole(listed):
        assert ours.cost(usage) == expected
    else:
        assert 0 <= ours.cost(usage) - expected <= 1


SERVICES = [
    (provider, model, price, tier)
    for provider, model, _ in LISTED
    if provider.id == "openai"
    and (price := CATALOGUE.find("openai", model.id)) is not None
    and CATALOGUE._snapshot.find_provider_model(model.id, provider, None, None)[1] is model
    for tier, _ in price.service_tiers
]


@given(st.data())
def test_so_is_the_cost_of_a_faster_or_slower_service(data: st.DataObject) -> None:
    provider, model, ours, tier = data.draw(st.sampled_from(SERVICES))
    usage = data.draw(usages())

    total = model.calc_price(
        theirs(usage), provider, genai_request_timestamp=NOW, price_context={"service_tier": tier}
    ).total_price

    cost = ours.cost(replace(usage, service_tier=tier))
    assert cost == int((total * USD).to_integral_value(ROUND_CEILING))


def test_a_faster_service_is_known_to_cost_more() -> None:
    price = CATALOGUE.find("openai", "gpt-4o")

    assert price is not None
    assert price.at("priority").rates.input > price.rates.input
    assert price.at("default") is price


@pytest.mark.parametrize("name", ["openai", "huggingface_groq", "huggingface_together", "groq"])
def test_most_models_of_a_list_have_a_price(name: str) -> None:
    models = [model for provider, model, _ in LISTED if provider.id == name]

    (provider,) = [each for each in providers if each.id == name]
    assert len(models) > 0.8 * len(provider.models)
    assert {model.id for model in models} <= {model.id for model in provider.models}


def test_a_model_is_found_as_its_list_finds_it_and_says_where() -> None:
    price = CATALOGUE.find("openai", "gpt-4o-mini-2024-07-18")

    assert price is not None
    assert price.rates.input == 150_000_000
    assert price.rates.cached_input == 75_000_000
    assert price.source.startswith("genai-prices ")
    assert price.source.endswith(": openai/gpt-4o-mini")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai", "no-such-model"),
        ("no-such-list", "gpt-4o"),
        ("huggingface_hf-inference", "meta-llama/Llama-3.1-8B-Instruct"),
        ("openai", "whisper-1"),  # by the hour
        ("openai", "tts-1"),  # by the character
        ("openai", "gpt-image-1"),  # by pictures that a usage does not tell apart
        ("openai", "omni-moderation-latest"),  # nothing at all is listed
        ("deepseek", "deepseek-chat"),  # by the time of day
    ],
)
def test_what_a_usage_can_not_price_has_no_price(name: str, model: str) -> None:
    assert CATALOGUE.find(name, model) is None


def test_a_price_holds_from_its_day_on() -> None:
    before, after = (
        Catalogue(datetime(2025, 6, day, tzinfo=UTC)).find("openai", "o3") for day in (9, 10)
    )

    assert before is not None
    assert after is not None
    assert (before.rates.input, after.rates.input) == (10 * 10**9, 2 * 10**9)


def test_tiers_that_begin_apart_are_each_kept() -> None:
    listed = ModelPrice(
        input_mtok=TieredPrices(Decimal(1), [Tier(100, Decimal(2)), Tier(300, Decimal(4))]),
        output_mtok=TieredPrices(Decimal(10), [Tier(200, Decimal(20))]),
        requests_kcount=Decimal(5),
    )
    billion = 10**9

    price = price_of(listed, "list")

    assert price is not None
    assert [(above, each.input, each.output) for above, each in price.tiers] == [
        (100, 2 * billion, 10 * billion),
        (200, 2 * billion, 20 * billion),
        (300, 4 * billion, 20 * billion),
    ]
    assert price.per_request == 5_000_000
    for tokens in (100, 101, 200, 201, 300, 301):
        usage = ListedUsage(input_tokens=tokens, output_tokens=7)
        total = listed.calc_price(usage)["total_price"]
        assert price.cost(Usage(tokens, 7)) == total * USD


def test_an_answer_without_a_listed_price_is_not_free() -> None:
    assert price_of(ModelPrice(input_mtok=Decimal(1)), "list") == Price(Rates(*[10**9] * 7))


def test_a_service_whose_price_nobody_can_count_costs_what_the_usual_one_does() -> None:
    usual = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    spoken = PriceVariant({"service_tier": "spoken"}, ModelPrice(audio_hours=Decimal(1)))
    fast = PriceVariant({"service_tier": "fast"}, ModelPrice(input_mtok=Decimal(2)))
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=usual, price_variants=[spoken, fast])
    catalogue = Catalogue(NOW)
    catalogue._lists["mine"] = Provider("mine", "Mine", "x", models=[model])

    price = catalogue.find("mine", "m")

    assert price is not None
    assert [name for name, _ in price.service_tiers] == ["fast"]


def test_a_price_of_the_hour_of_the_day_is_left_to_the_operator() -> None:
    def model(constraint: StartDateConstraint | TimeOfDateConstraint) -> ModelInfo:
        prices = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
        conditional = [ConditionalPrice(prices=prices), ConditionalPrice(constraint, prices=prices)]
        return ModelInfo(id="m", match=ClauseEquals("m"), prices=conditional)

    def found(constraint: StartDateConstraint | TimeOfDateConstraint) -> Price | None:
        catalogue = Catalogue(NOW)
        catalogue._lists["mine"] = Provider("mine", "Mine", "x", models=[model(constraint)])
        return catalogue.find("mine", "m")

    assert found(TimeOfDateConstraint(time(0, tzinfo=UTC), time(6, tzinfo=UTC))) is None
    assert found(StartDateConstraint(date(2020, 1, 1))) is not None
