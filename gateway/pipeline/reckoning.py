"""
What a request can come to at most, and what it has come to by our own count.

Pure: the call, the model's settings, the limits and the prices decide. Where nothing limits
tokens or money, nothing is estimated.

Hot: once a request, and once more for each target that it goes on to.
"""

from dataclasses import dataclass

from ..contract.errors import InvalidRequest
from ..contract.provider import Usage
from ..limits import (
    MARGIN,
    Amounts,
    Ask,
    Limits,
    choices,
    input_bound,
    named_cap,
    prompt_tokens,
)
from ..pricing import Price, Prices
from ..routing import ModelSettings
from .call import Call

LEAST_OUTPUT = 64
"""
Tokens down to which a budget may lower the cap of an answer whose request names none. A shorter
answer helps nobody, so that such a request is refused.
"""

MOST_OUTPUT = 2**31
"""Tokens of an answer that nobody makes: a cap above it is this one, which can be reckoned with."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """How to reckon: what targets cost, and whether prompts are bounded or estimated."""

    prices: Prices
    strict: bool = False


class Reckoning:
    """Of one request. `cap` is the tokens of output of each of its choices."""

    _prompt: int | None = None
    _bound: int | None = None

    def __init__(self, call: Call, settings: ModelSettings, limits: Limits, tariff: Tariff) -> None:
        self._call = call
        self._settings = settings
        self._limits = limits
        self._tariff = tariff
        self._choices = choices(call.operation, call.body)
        self.cap = self.least = min(named_cap(call.operation, call.body), MOST_OUTPUT)
        if not self.cap and self._choices:
            self.cap = settings.max_output or 0
            self.least = min(self.cap, LEAST_OUTPUT)

    @property
    def counts_money(self) -> bool:
        """Whether the caller has a budget."""
        return self._limits.counts_money

    @property
    def most(self) -> int:
        """Tokens of output at which a stream has surely passed its cap; 0 where it has none."""
        return self._choices * self.cap + MARGIN if self.cap else 0

    def price(self, target: str) -> Price | None:
        """
        What a target costs, None where nobody has said and nothing depends on it.

        Raises:
            ModelUnpriced: nobody has said, and the caller has a budget.
        """
        prices = self._tariff.prices
        return prices.under_budget(target) if self._limits.counts_money else prices.of(target)

    def ask(self, price: Price | None) -> Ask:
        """
        What to take from the limits before the request is sent to a target of that price.

        Raises:
            InvalidRequest: nothing bounds its output, or what its prompt costs under a budget.
        """
        limits, cap = self._limits, self.cap
        if not cap and self._choices and (limits.counts_tokens or limits.counts_money):
            raise InvalidRequest(
                "Name max_tokens: your limits count tokens, and this model has no cap of its own.",
                param="max_tokens",
                code="unbounded_output",
            )
        fixed_tokens = fixed_cost = each_tokens = each_cost = 0
        margin = MARGIN if cap else 0
        if limits.counts_tokens:
            fixed_tokens = (self.bound() if self._tariff.strict else self.prompt()) + margin
            each_tokens = self._choices
        if limits.counts_money and price is not None:
            asked = price.at(self._call.body.get("service_tier"))
            fixed_cost = asked.input_bound(self.bound()) + margin * asked.per_output_token
            each_cost = self._choices * asked.per_output_token
        fixed, each = Amounts(fixed_tokens, fixed_cost), Amounts(each_tokens, each_cost)
        return Ask(fixed, each, cap, self.least)

    @property
    def estimated(self) -> int:
        """The prompt's tokens if they were estimated, else 0."""
        return self._prompt or 0

    def prompt(self) -> int:
        """The prompt's tokens, estimated."""
        if self._prompt is None:
            self._prompt = prompt_tokens(self._call.operation, self._call.body)
        return self._prompt

    def bound(self) -> int:
        """
        The prompt's tokens at most.

        Raises:
            InvalidRequest: it has a part that can't be bounded.
        """
        if self._bound is None:
            self._bound = input_bound(
                self._call.operation,
                self._call.body,
                image_tokens=self._settings.image_tokens,
                audio_tokens=self._settings.audio_tokens,
            )
        return self._bound

    def counted(self, pieces: int) -> Usage:
        """A usage by our own count, of so many deltas with text."""
        return Usage(prompt=self.prompt(), completion=pieces)
