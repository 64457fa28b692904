"""
What a request takes from its limits: tokens and money, as integers.

Every amount stays below 2^53, so that Redis's scripts reckon with it exactly.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Amounts(NamedTuple):
    """An amount of each thing that is measured; `cost` is nano-dollars."""

    tokens: int = 0
    cost: int = 0


NOTHING = Amounts()


@dataclass(slots=True)
class Ask:
    """
    What a request may use at most: `fixed`, and `each` for every token of its cap.

    `cap` is the tokens of output that it would like to have. Limits of a calendar period that
    have less left may lower it, down to `least`; where that is `cap`, nothing is lowered.
    """

    fixed: Amounts
    each: Amounts = NOTHING
    cap: int = 0
    least: int = 0

    def at(self, cap: int) -> Amounts:
        """What the request may use under that cap."""
        tokens, cost = self.fixed
        each_tokens, each_cost = self.each
        return Amounts(tokens + cap * each_tokens, cost + cap * each_cost)
