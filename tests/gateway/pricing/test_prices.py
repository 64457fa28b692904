import pytest

from gateway.pricing import FREE, ModelUnpriced, Price, Prices, Rates

PRICE = Price(Rates(*[10**9] * 7), source="here")


def test_a_target_has_the_price_that_was_found_for_it() -> None:
    prices = Prices({"a/m": PRICE})

    assert prices.of("a/m") is prices.under_budget("a/m") is PRICE


def test_a_target_without_a_price_is_not_for_callers_with_a_budget() -> None:
    prices = Prices({"a/m": PRICE})

    assert prices.of("a/other") is None
    with pytest.raises(ModelUnpriced):
        prices.under_budget("a/other")


def test_only_where_the_configuration_says_so_it_is_free_to_them() -> None:
    prices = Prices({}, unpriced="free")

    assert prices.under_budget("a/m") is FREE
    assert prices.of("a/m") is None  # it is still recorded as not priced


def test_prices_do_not_change_behind_a_snapshot() -> None:
    written = {"a/m": PRICE}
    prices = Prices(written)
    written.clear()

    assert prices.of("a/m") is PRICE
