"""
What a request costs: tokens -> nano-dollars.

Prices are integers and fixed when the configuration is read: the operator's own file first, then
the public price lists of genai-prices, which `gateway.pricing.catalogue` loads only where a
target has no stated price.
"""

from .price import FREE, Price, Rates
from .prices import ListPrice, ModelUnpriced, Prices
from .settings import PriceFile, PriceSettings, PricingSettings

__all__ = [
    "Price",
    "Rates",
    "FREE",
    "Prices",
    "ListPrice",
    "ModelUnpriced",
    "PricingSettings",
    "PriceFile",
    "PriceSettings",
]
