"""
Prices as they are written: `pricing:` in the configuration, and the prices file it names.

Amounts are USD in plain decimals, per million tokens; nine decimals and 100,000 USD are the bound
of each. They are read as decimals and become integers at once: no price is ever a float.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from ..contract.money import NANO, nano_dollars
from .price import Price, Rates

MAX_USD = 100_000
"""A larger price is a slip of units."""

Unpriced = Literal["refuse", "free"]


class PricingSettings(BaseModel):
    """Where prices come from, beside the public lists that come with the gateway."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(
        default=None,
        min_length=1,
        description="A file of prices, relative to this one; see `config/prices.yaml`. What it "
        "states goes before the public price lists.",
    )
    unpriced: Unpriced = Field(
        default="refuse",
        description="A caller with a budget asks for a target without a price: refuse, or count "
        "nothing for it.",
    )


def _price(value: object) -> int:
    nano = nano_dollars(value)
    if nano > MAX_USD * NANO:
        raise ValueError(f"is more than {MAX_USD} USD")
    return nano


Usd = Annotated[
    int,
    BeforeValidator(_price),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MAX_USD}),
]
"""An amount of USD, held in nano-dollars."""


class RatesSettings(BaseModel):
    """USD per million tokens. What is priced apart has its own; the rest is as its kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Usd = Field(description="Tokens of the prompt.")
    output: Usd = Field(description="Tokens of the answer; 0 for embeddings.")
    cached_input: Usd | None = Field(default=None, description="Prompt read from a cache.")
    cache_write: Usd | None = Field(default=None, description="Prompt written to a cache.")
    audio_input: Usd | None = Field(default=None, description="Sound in the prompt.")
    reasoning: Usd | None = Field(default=None, description="Thinking, where it is priced apart.")
    audio_output: Usd | None = Field(default=None, description="Sound in the answer.")

    def rates(self) -> Rates:
        """Each kind of token by its own rate, or else by that of its side."""
        return Rates(
            input=self.input,
            cached_input=_or(self.cached_input, self.input),
            cache_write=_or(self.cache_write, self.input),
            audio_input=_or(self.audio_input, self.input),
            output=self.output,
            reasoning=_or(self.reasoning, self.output),
            audio_output=_or(self.audio_output, self.output),
        )


class TierSettings(RatesSettings):
    """The rates of a request with a long prompt: all of it, not only what is above."""

    above: int = Field(gt=0, description="Tokens of the prompt that it exceeds.")


class ServiceSettings(RatesSettings):
    """The price of one service of an upstream."""

    tiers: tuple[TierSettings, ...] = Field(
        default=(),
        description="Other rates for long prompts, the shortest first: each the rates above, and "
        "`above`, the tokens that a prompt exceeds.",
    )

    @model_validator(mode="after")
    def _tiers_ascend(self) -> Self:
        above = [tier.above for tier in self.tiers]
        if sorted(set(above)) != above:
            raise ValueError("tiers must ascend by `above`")
        return self


class PriceSettings(ServiceSettings):
    """One price in the file."""

    request: Usd = Field(default=0, description="USD for each request beside its tokens.")
    service_tiers: Mapping[str, ServiceSettings] = Field(
        default={},
        description="Rates and tiers of `priority`, `flex` or other services of the upstream.",
    )

    def price(self, source: str) -> Price:
        """The price that was written; `source` says where."""

        def of(service: ServiceSettings, *others: tuple[str, Price]) -> Price:
            return Price(
                service.rates(),
                per_request=self.request,
                tiers=tuple((tier.above, tier.rates()) for tier in service.tiers),
                service_tiers=others,
                source=source,
            )

        return of(self, *((name, of(other)) for name, other in self.service_tiers.items()))


class PriceFile(BaseModel):
    """A prices file. A target's price goes before that of the model that leads to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    targets: Mapping[str, PriceSettings] = Field(
        default={}, description="By target: `provider/model`."
    )
    models: Mapping[str, PriceSettings] = Field(
        default={}, description="By public model, for all of its targets without their own."
    )


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
