"""
Why a request gets nothing from its limits: one is used up, or can never hold so much.
"""

from ..contract.errors import BudgetExhausted, LimitExceeded, RequestExceedsLimit
from .counts import Counts
from .model import Ask, Calendar, Limit, Standings, parts

NANO = 1_000_000_000


def check_fits(limits: tuple[Limit, ...], ask: Ask, counts: Counts) -> int:
    """
    The highest cap that every calendar limit could hold if nothing else were in it.

    Raises:
        RequestExceedsLimit: one of them can not even hold the least cap, or a sliding window not
            the whole one.
    """
    cap, most = ask.cap, parts(ask.at(ask.cap))
    for limit in limits:
        if most[limit.part] <= limit.amount:
            continue
        within = limit.cap_within(ask, limit.amount)
        if limit.window.kind != Calendar.kind or within < ask.least:
            counts.too_large += 1
            raise _too_large(limit, ask)
        cap = min(cap, within)
    return cap


def _too_large(limit: Limit, ask: Ask) -> RequestExceedsLimit:
    lowers = limit.window.kind == Calendar.kind
    needs = limit.cost(ask.at(ask.least if lowers else ask.cap))
    return RequestExceedsLimit(
        f"The request needs {_told(limit, needs)}, but the limit is "
        f"{_told(limit, limit.amount, short=True)} {limit.window}."
    )


def _told(limit: Limit, amount: int, *, short: bool = False) -> str:
    if limit.measure == "money":
        return f"${amount / NANO:.9f}".rstrip("0").rstrip(".")
    return str(amount) if short else f"{amount} {limit.measure}"


class LimitReached(LimitExceeded):
    """The refusal by one limit, with how all of them stand: unchanged."""

    def __init__(self, limit: Limit, wait: int, standings: Standings) -> None:
        """`wait` is milliseconds until the limit has room."""
        super().__init__(
            _message(limit, wait / 1000), measure=limit.measure, retry_after=wait / 1000
        )
        self.standings = standings


class BudgetSpent(LimitReached, BudgetExhausted):
    """The refusal by a limit on money."""


def _message(limit: Limit, wait: float) -> str:
    allowed = f"{_told(limit, limit.amount, short=True)} {limit.window}"
    if limit.measure == "money":
        return f"You exceeded your current quota: {allowed}. It begins anew in {wait:g} s."
    return f"Rate limit reached for {limit.measure}: {allowed}. Please try again in {wait:g} s."


def refusal(limit: Limit, wait: int, standings: Standings) -> LimitReached:
    """What the refusal by that limit is called; `wait` is milliseconds."""
    kind = BudgetSpent if limit.measure == "money" else LimitReached
    return kind(limit, wait, standings)
