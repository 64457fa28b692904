"""
Which price holds for which target: fixed when the configuration is read.

Hot: one dictionary look-up an attempt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of all targets, by their names `provider/model`; immutable."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    unpriced: Unpriced = "refuse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "prices", dict(self.prices))

    def of(self, target: str) -> Price | None:
        """What a target costs, None where nobody has said."""
        return self.prices.get(target)

    def under_budget(self, target: str) -> Price:
        """
        What a target costs to a caller that has a budget.

        Raises:
            ModelUnpriced: nobody has said, and `pricing.unpriced` is not `free`.
        """
        price = self.prices.get(target)
        if price is not None:
            return price
        if self.unpriced == "free":
            return FREE
        raise ModelUnpriced
