"""
Whether to try again, and when.

One budget of attempts and time spans all targets of a request. What an error allows is written
at the error: a final one ends the request, an ambiguous one (it may have been worked on, and
billed) allows a single further attempt on another target, any other allows the next target at
once and the same one after a pause.
"""

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, wait_random_exponential

from ..contract.errors import ProviderBusy, ProviderError, Retry
from ..routing import RetrySettings


class Retries:
    """
    The attempts of one request at one model. `ends_at` and `now` share a clock, in seconds.

    A client that has sent the request before, `repeats` times, has used up so many of them: its
    retries and ours do not multiply.
    """

    def __init__(
        self,
        settings: RetrySettings,
        *,
        ends_at: float,
        now: Callable[[], float],
        repeats: int = 0,
    ) -> None:
        self._settings = settings
        self._attempts = max(1, settings.attempts - repeats)
        self._ends_at = ends_at
        self._now = now
        self._failed = 0
        self._ambiguous = 0
        self._rounds = 0
        self.spent_targets: set[str] = set()
        """Targets that may have worked on the request: never asked a second time."""

    def allow_another(self, target: str, error: ProviderError) -> bool:
        """
        Take note of a failure; whether any further attempt may follow it.

        A target that was too busy to be asked has cost no attempt.
        """
        self._failed += not isinstance(error, ProviderBusy)
        if error.retry is Retry.ONCE:
            self._ambiguous += 1
            self.spent_targets.add(target)
        return (
            error.retry is not Retry.FINAL
            and self._ambiguous <= 1
            and self._failed < self._attempts
            and self._now() < self._ends_at
        )

    def broke_off(self, target: str) -> None:
        """Take note of an answer that broke off in the midst: what it came to is known."""
        self._failed += 1
        self.spent_targets.add(target)

    def give_up(self) -> None:
        """No further attempt may follow."""
        self._failed = self._attempts

    @property
    def has_left(self) -> bool:
        """Whether a further attempt may follow one that broke off."""
        return self._failed < self._attempts

    def pause(self, soonest: float) -> float | None:
        """
        Seconds to wait before the targets are gone through again, None to give up.

        Random between zero and a bound that doubles each round, so that callers do not come back
        together, and never less than `soonest`: what the upstreams asked for.
        """
        self._rounds += 1
        if self._rounds > self._attempts:
            return None
        draw = wait_random_exponential(
            multiplier=self._settings.backoff, max=self._settings.max_backoff
        )
        wait = max(draw(_at_round(self._rounds)), soonest)
        if wait > self._settings.max_backoff or self._now() + wait >= self._ends_at:
            return None
        return wait


def _at_round(number: int) -> RetryCallState:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = number
    return state
