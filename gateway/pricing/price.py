"""
What one request costs at one target, in whole nano-dollars.

A nano-dollar is 10^-9 USD. Rates are nano-dollars per million tokens, so that what a price list
writes in USD per million tokens is held to nine decimals without a float. The parts of a request
are summed exactly and rounded up once, to the next nano-dollar. Every token is priced once: what
was cached, written to a cache, heard, thought or spoken is taken out of the prompt or the
completion that it is part of.

Hot: `input_bound` and `cost` run once an attempt.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from ..contract.provider import Usage

MILLION = 1_000_000


class Rates(NamedTuple):
    """Nano-dollars per million tokens, each kind of token by its own."""

    input: int
    cached_input: int
    cache_write: int
    audio_input: int
    output: int
    reasoning: int
    audio_output: int

    @property
    def dearest_input(self) -> int:
        """The most that a token of a prompt may cost."""
        return max(self.input, self.cached_input, self.cache_write, self.audio_input)

    @property
    def dearest_output(self) -> int:
        """The most that a token of a completion may cost."""
        return max(self.output, self.reasoning, self.audio_output)


@dataclass(frozen=True, slots=True)
class Price:
    """
    The rates of one target.

    `tiers` are (tokens, rates), fewest tokens first: the rates of the last tier whose tokens a
    prompt exceeds hold for the whole request. `per_request` is nano-dollars. `service_tiers` are
    the prices of other services of the upstream, faster or slower ones, by its names for them.
    `source` says where the numbers are from.
    """

    rates: Rates
    per_request: int = 0
    tiers: tuple[tuple[int, Rates], ...] = ()
    service_tiers: tuple[tuple[str, "Price"], ...] = ()
    source: str = field(default="", compare=False)
    per_output_token: int = field(init=False, compare=False)
    """Nano-dollars that one token of output costs at most, whatever the tier."""

    def __post_init__(self) -> None:
        dearest = max(rates.dearest_output for rates in self._all_rates())
        object.__setattr__(self, "per_output_token", _rounded_up(dearest))

    def at(self, service_tier: object) -> "Price":
        """The price of a service that a request asks for, or got; the usual one if it has none."""
        for name, price in self.service_tiers:
            if name == service_tier:
                return price
        return self

    def cost(self, usage: Usage) -> int:
        """
        Nano-dollars for what was used, at the service that was given; never negative, and never
        more than was bounded for that service.

        Parts that together exceed what they are part of are cut to it, the dearest of a usual
        price list first: sound, then cache writes, then cache reads.
        """
        price = self.at(usage.service_tier) if usage.service_tier else self
        total = _total(_rates(price, usage.prompt), usage)
        return _rounded_up(total) + price.per_request

    def input_bound(self, tokens: int) -> int:
        """Nano-dollars that a request with a prompt of so many tokens costs at most, unanswered."""
        dearest = self.rates.dearest_input
        for above, rates in self.tiers:
            if tokens <= above:
                break
            dearest = max(dearest, rates.dearest_input)
        return _rounded_up(tokens * dearest) + self.per_request

    def _all_rates(self) -> tuple[Rates, ...]:
        return (self.rates, *(rates for _, rates in self.tiers))


def _rates(price: Price, prompt: int) -> Rates:
    found = price.rates
    for above, rates in price.tiers:
        if prompt <= above:
            break
        found = rates
    return found


def _total(rates: Rates, usage: Usage) -> int:
    """Nano-dollars times a million: the exact sum."""
    prompt, completion = max(0, usage.prompt), max(0, usage.completion)
    if not (usage.cached or usage.cache_written or usage.audio_prompt) and not (
        usage.reasoning or usage.audio_completion
    ):
        return prompt * rates.input + completion * rates.output
    audio, rest = _cut(usage.audio_prompt, prompt)
    written, rest = _cut(usage.cache_written, rest)
    cached, text = _cut(usage.cached, rest)
    spoken, rest = _cut(usage.audio_completion, completion)
    thought, said = _cut(usage.reasoning, rest)
    return (
        text * rates.input
        + cached * rates.cached_input
        + written * rates.cache_write
        + audio * rates.audio_input
        + said * rates.output
        + thought * rates.reasoning
        + spoken * rates.audio_output
    )


def _rounded_up(total: int) -> int:
    return -(-total // MILLION)


def _cut(part: int, whole: int) -> tuple[int, int]:
    """A part that is no larger than the whole, and what is left of that."""
    part = min(max(0, part), whole)
    return part, whole - part


FREE = Price(Rates(0, 0, 0, 0, 0, 0, 0), source="pricing.unpriced: free")
"""What a target without a price costs where the configuration says so."""
