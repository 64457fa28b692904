"""
What a request can come to at most, and what it has come to by our own count.

Pure: the call, the model's settings, the limits and the prices decide. Where nothing limits
tokens or money, nothing is estimated.

Hot: once a request, and once more for each target that it goes on to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..contract.errors import InvalidRequest
from ..contract.provider import Usage
from ..limits import (
    MARGIN,
    Amounts,
    Ask,
    Limit,
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

    __slots__ = (
        "_bound",
        "_call",
        "_choices",
        "_prompt",
        "_settings",
        "_tariff",
        "cap",
        "counts_money",
        "counts_tokens",
        "least",
    )

    def __init__(
        self, call: Call, settings: ModelSettings, limits: Sequence[Limit], tariff: Tariff
    ) -> None:
        self._call = call
        self._settings = settings
        self._tariff = tariff
        self._choices = choices(call.operation, call.body)
        self._prompt: int | None = None
        self._bound: int | None = None
        named = min(named_cap(call.operation, call.body), MOST_OUTPUT) if self._choices else 0
        self.cap = (named or settings.max_output or 0) if self._choices else 0
        self.least = self.cap if named else min(self.cap, LEAST_OUTPUT)
        measures = {limit.measure for limit in limits}
        self.counts_money = "money" in measures
        self.counts_tokens = "tokens" in measures

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
        return prices.under_budget(target) if self.counts_money else prices.of(target)

    def ask(self, price: Price | None) -> Ask:
        """
        What to take from the limits before the request is sent to a target of that price.

        Raises:
            InvalidRequest: nothing bounds its output, or what its prompt costs under a budget.
        """
        if self._choices and not self.cap and (self.counts_tokens or self.counts_money):
            raise InvalidRequest(
                "Name max_tokens: your limits count tokens, and this model has no cap of its own.",
                param="max_tokens",
                code="unbounded_output",
            )
        fixed_tokens = fixed_cost = each_cost = 0
        margin = MARGIN if self.cap else 0
        if self.counts_tokens:
            fixed_tokens = (self.bound() if self._tariff.strict else self.prompt()) + margin
        if self.counts_money and price is not None:
            asked = price.at(self._call.body.get("service_tier"))
            fixed_cost = asked.input_bound(self.bound()) + margin * asked.per_output_token
            each_cost = self._choices * asked.per_output_token
        return Ask(
            fixed=Amounts(fixed_tokens, fixed_cost),
            each=Amounts(self._choices if self.counts_tokens else 0, each_cost),
            cap=self.cap,
            least=self.least,
        )

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
