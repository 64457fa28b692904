"""Prices are read exactly or refused; none becomes zero by mistake."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.contract.provider import Usage
from gateway.pricing import PriceFile, PriceSettings, PricingSettings, Rates


def price(**fields: Any) -> PriceSettings:
    return PriceSettings.model_validate({"input": 1, "output": 2, **fields})


@pytest.mark.parametrize("written", [-1, 0.5, True, "1e3", 100_001, Decimal("NaN")])
def test_a_price_that_is_none_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        price(input=written)


def test_what_is_not_priced_apart_costs_what_its_side_does() -> None:
    assert price().price("s").rates == Rates(*[10**9] * 4, *[2 * 10**9] * 3)
    apart = {
        "cached_input": Decimal("0.5"),
        "cache_write": 3,
        "audio_input": 4,
        "reasoning": 5,
        "audio_output": 6,
    }
    assert price(**apart).price("s").rates == Rates(
        10**9, 5 * 10**8, 3 * 10**9, 4 * 10**9, 2 * 10**9, 5 * 10**9, 6 * 10**9
    )


def test_free_reads_of_a_cache_are_no_missing_price() -> None:
    assert price(cached_input=0).price("s").rates.cached_input == 0


def test_a_price_says_where_it_is_from() -> None:
    assert price().price("prices.yaml:3").source == "prices.yaml:3"


def test_a_price_of_a_request_and_tiers_are_read() -> None:
    written = price(request=Decimal("0.005"), tiers=[{"above": 9, "input": 3, "output": 4}])

    read = written.price("s")
    assert read.per_request == 5_000_000
    assert read.cost(Usage(10, 0)) == 5_000_000 + 30_000
    assert read.cost(Usage(9, 0)) == 5_000_000 + 9_000


def test_other_services_are_read_with_the_same_price_of_a_request() -> None:
    written = price(
        request=1,
        service_tiers={
            "priority": {"input": 3, "output": 4, "tiers": [{"above": 9, "input": 5, "output": 5}]}
        },
    )

    read = written.price("s").at("priority")
    assert read.rates == Rates(*[3 * 10**9] * 4, *[4 * 10**9] * 3)
    assert (read.per_request, read.tiers[0][0], read.source) == (10**9, 9, "s")


@pytest.mark.parametrize(
    "fields",
    [
        {"output": None},
        {"input": None},
        {"inputs": 1},
        {"input": float("nan")},
        {"tiers": [{"above": 0, "input": 1, "output": 1}]},
        {"tiers": [{"above": 5, "input": 1}]},
        {"service_tiers": {"priority": {"input": 1}}},
        {"service_tiers": {"priority": {"input": 1, "output": 1, "request": 1}}},
        {"tiers": [{"above": n, "input": 1, "output": 1} for n in (9, 5)]},
        {"tiers": [{"above": n, "input": 1, "output": 1} for n in (5, 5)]},
    ],
)
def test_a_price_that_is_not_whole_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        price(**fields)


def test_both_sides_must_be_stated() -> None:
    with pytest.raises(ValidationError, match="output"):
        PriceSettings.model_validate({"input": 1})


def test_nothing_is_stated_and_nothing_is_free_by_default() -> None:
    assert PricingSettings() == PricingSettings(file=None, unpriced="refuse")
    assert PriceFile() == PriceFile(targets={}, models={})
