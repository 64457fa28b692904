"""
Prices from the public lists of genai-prices, as its installed release has them.

Loading them takes about 0.15 s, so only what has no stated price asks for this module. Nothing is
fetched: a newer list is a newer release of the package.

A price is given only where tokens decide it. A model that is priced by what no answer reports
(pictures, hours, pages, the time of day) has none here, so that the operator states it instead of
paying for it unseen. What comes on top of tokens for tools that the upstream runs, searches for
example, is not counted. A list's price without one for output is an embedding's; were there
output, it would cost what the input does, never nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version

from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint

from .price import Price, Rates

_RATES = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "audio_input",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
}
_PER_REQUEST = "requests_kcount"
_LEFT_OUT = frozenset(
    {
        # Tools that the upstream runs.
        "web_searches_kcount",
        "storage_searches_kcount",
        # Finer than a usage is reported: they cost what their kind does.
        "cache_write_1h_mtok",
        "cache_audio_read_mtok",
    }
)
_SERVICE, _USUAL = "service_tier", "default"
_KNOWN = frozenset({*_RATES, _PER_REQUEST, *_LEFT_OUT})

_NANO_PER_MILLION = Decimal(10**9)
_NANO_PER_THOUSAND = Decimal(10**6)
"""From USD for a thousand requests to nano-dollars for one."""


class Catalogue:
    """The public price lists as they stand at one instant, which is aware."""

    def __init__(self, at: datetime) -> None:
        self._snapshot = DataSnapshot(providers=providers, from_auto_update=False)
        self._lists = {each.id: each for each in providers}
        self._at = at
        self._source = f"genai-prices {version('genai-prices')}"

    def find(self, name: str, model: str) -> Price | None:
        """The price of a model in the list of that name; None where there is none to rely on."""
        if name not in self._lists:
            return None
        try:
            _, found = self._snapshot.find_provider_model(model, self._lists[name], None, None)
        except LookupError:
            return None
        if _changes_within_a_day(found):
            return None
        source = f"{self._source}: {name}/{found.id}"
        price = price_of(found.get_prices(self._at), source)
        return price and replace(price, service_tiers=tuple(self._services(found, source)))

    def _services(self, model: ModelInfo, source: str) -> Iterator[tuple[str, Price]]:
        """Other services of a model, faster or slower ones, that have a price."""
        for tier in dict.fromkeys(each.when.get(_SERVICE) for each in model.price_variants or ()):
            if tier is not None and tier != _USUAL:
                price = price_of(model.get_prices(self._at, {_SERVICE: tier}), source)
                if price is not None:
                    yield tier, price


def price_of(listed: ModelPrice, source: str) -> Price | None:
    """A listed price as one of ours, None where it counts what no usage reports."""
    written = {name: value for name, value in vars(listed).items() if value is not None}
    if "input_mtok" not in written or not written.keys() <= _KNOWN:
        return None
    per_request = written.pop(_PER_REQUEST, Decimal(0))
    return Price(
        _rates(written, 0),
        per_request=_whole(_at(per_request, 0) * _NANO_PER_THOUSAND),
        tiers=tuple((start, _rates(written, start + 1)) for start in _starts(written.values())),
        source=source,
    )


def _changes_within_a_day(model: ModelInfo) -> bool:
    prices = model.prices if isinstance(model.prices, list) else []
    return any(
        isinstance(each.constraint, TimeOfDateConstraint)
        for each in (*prices, *(model.price_variants or ()))
    )


def _starts(prices: Iterable[Decimal | TieredPrices]) -> list[int]:
    """Prompts of more tokens than these have other rates."""
    tiered = [price for price in prices if isinstance(price, TieredPrices)]
    return sorted({tier.start for price in tiered for tier in price.tiers})


def _rates(written: dict[str, Decimal | TieredPrices], prompt: int) -> Rates:
    """The rates for a prompt of so many tokens."""
    rates = {
        ours: _whole(_at(written[theirs], prompt) * _NANO_PER_MILLION)
        for theirs, ours in _RATES.items()
        if theirs in written
    }
    of_input = rates["input"]
    of_output = rates.setdefault("output", of_input)
    inputs = dict.fromkeys(("cached_input", "cache_write", "audio_input"), of_input)
    outputs = dict.fromkeys(("reasoning", "audio_output"), of_output)
    return Rates(**(inputs | outputs | rates))


def _at(price: Decimal | TieredPrices, prompt: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if prompt > tier.start]
    return reached[-1] if reached else price.base


def _whole(nano: Decimal) -> int:
    return int(nano.to_integral_value(ROUND_CEILING))
