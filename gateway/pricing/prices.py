"""
Which price holds for which target: fixed when the configuration is read.

Hot: one dictionary look-up an attempt.
"""

from collections.abc import Callable, Mapping

from ..contract.errors import GatewayError
from .price import FREE, Price
from .settings import Unpriced

ListPrice = Callable[[str, str], Price | None]
"""The price of a model, by the name of a public price list and the model's name there."""


class ModelUnpriced(GatewayError):
    """The caller has a budget, and nobody has said what the model costs."""

    status, code = 400, "model_unpriced"

    def __init__(self) -> None:
        super().__init__("This model has no price, which your budget needs.", param="model")


class Prices:
    """The prices of all targets, by their names `provider/model`; immutable."""

    def __init__(self, prices: Mapping[str, Price], *, unpriced: Unpriced = "refuse") -> None:
        self._prices = dict(prices)
        self._otherwise = FREE if unpriced == "free" else None

    def of(self, target: str) -> Price | None:
        """What a target costs, None where nobody has said."""
        return self._prices.get(target)

    def under_budget(self, target: str) -> Price:
        """
        What a target costs to a caller that has a budget.

        Raises:
            ModelUnpriced: nobody has said, and `pricing.unpriced` is not `free`.
        """
        price = self._prices.get(target, self._otherwise)
        if price is None:
            raise ModelUnpriced
        return price
