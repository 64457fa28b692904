"""
Which price holds for which target: fixed when the configuration is read.

Hot: one dictionary look-up an attempt.
"""

from collections.abc import Callable, Mapping

from .price import FREE, Price
from .settings import Unpriced

ListPrice = Callable[[str, str], Price | None]
"""The price of a model, by the name of a public price list and the model's name there."""


class Prices:
    """The prices of all targets, by their names `provider/model`; immutable."""

    def __init__(self, prices: Mapping[str, Price], *, unpriced: Unpriced = "refuse") -> None:
        self._prices = dict(prices)
        self._otherwise = FREE if unpriced == "free" else None

    def of(self, target: str) -> Price | None:
        """What a target costs, None where nobody has said."""
        return self._prices.get(target)

    def under_budget(self, target: str) -> Price | None:
        """What a target costs to a caller that has a budget, None where it may not be used."""
        return self._prices.get(target, self._otherwise)
