"""
Who is asked, and who after that, until one of a model's targets answers.

What stays true: a failure goes on only as far as `Retries` allows, to targets that `routing` and
health put forward, each retry out of the budget of the target that receives it; what is busy costs
no attempt, and waiting for a turn comes last.

Hot: `first_answer` runs once a request, its loop once an attempt.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from functools import cached_property

from ..contract.errors import (
    GatewayError,
    InvalidRequest,
    LimitExceeded,
    ProviderBusy,
    ProviderDisconnected,
    ProviderError,
    ProviderUnreachable,
    RequestExceedsLimit,
)
from ..pricing import ModelUnpriced
from ..quarantine import Case, Flag
from ..routing import Candidate, Route, plan
from .account import Account
from .asker import Asker
from .attempt import Answer, Streamed
from .call import Call
from .lineup import NOBODY, Lineup
from .open_attempt import OpenAttempt
from .pipeline import Pipeline
from .resume import ResumingStream
from .retries import Retries
from .takeover import Takeover

EARLY = 0.002
"""Seconds by which a timer may fire too early: uvloop counts whole milliseconds."""

BREAKDOWN = 2.0
"""Seconds within which an upstream that breaks down has lost all that it had in hand."""

_NOT_THIS_ONE = (InvalidRequest, LimitExceeded, ModelUnpriced, RequestExceedsLimit)
"""Refusals before anything is sent: not of the dialect of this target's kind, or too dear."""


class Failover:
    """Of one request at the targets of `route`."""

    _line: Candidate | None = None
    """The best of those that are busy and have a line to wait in."""
    _has_waited = False
    _case: Case | None = None
    """Open where its tenant may have kills, or an upstream breaks down."""

    def __init__(self, asker: Asker, route: Route, call: Call, account: Account) -> None:
        self.attempt = OpenAttempt(asker, account)
        self._asker = asker
        self._route = route
        self._call = call
        self._account = account

    async def check(self, flag: Flag) -> None:
        """
        Before anybody is asked. `flag` is what was asked about the tenant.

        Raises:
            RequestQuarantined: it has killed as many backends as it may.
        """
        await self._opened_case().check(flag)

    @cached_property
    def _retries(self) -> Retries:
        """Made when something has failed: most requests need none."""
        asker = self._asker
        return Retries(
            self._route.settings.retries,
            ends_at=asker.content_by,
            now=asker.now,
            repeats=asker.hints.repeats,
        )

    async def first_answer(self, lineup: Lineup) -> Answer:
        """
        An answer with content, from the first of the targets that gives one. A stream stays open.

        Raises:
            GatewayError: a limit has no room for any of them, or they break down over it.
            ProviderError: none answered, or the one that did refused the request itself.
        """
        failure: GatewayError | ProviderError | None = None
        try:
            while (candidate := self._next(lineup)) is not None:
                try:
                    if self._account.priced_for != candidate.name:
                        await self._account.afford(candidate.name)
                    answer = await self.attempt.ask(candidate, self._call, waits=lineup.waits)
                except _NOT_THIS_ONE as refusal:
                    failure = failure or refusal
                except ProviderError as error:
                    failure = error
                    if not await self._allows_another(candidate, error):
                        break
                    lineup = await self._left(lineup, error)
                else:
                    if self._case is not None:
                        await self._case.answered()
                    return self._resumable(answer) if self._route.resumes else answer
            assert failure is not None, "the first of them was asked"
            raise self._final(failure)
        finally:
            failure = None  # its traceback leads here: no cycle is left to the collector

    async def _allows_another(self, candidate: Candidate, error: ProviderError) -> bool:
        """Take note of a failure; whether any further attempt may follow it."""
        if _is_crowded(error) and candidate.provider.settings.queue.size:
            self._line = self._line or candidate
        if self._was_killed(candidate, error):
            await self._opened_case().killed(candidate.provider.name)
        return self._retries.allow_another(candidate.name, error)

    def _opened_case(self) -> Case:
        if self._case is None:
            asker = self._asker
            self._case = asker.pipeline.quarantine.case(asker.record.tenant, self._call.body)
        return self._case

    def _was_killed(self, candidate: Candidate, error: ProviderError) -> bool:
        """
        Whether the upstream may have broken down over the request, before it said anything: there
        are those that send their head at once. One that had been failing already has not.
        """
        if not isinstance(error, ProviderDisconnected | ProviderUnreachable):
            return False
        attempt = self._asker.record.attempts[-1]
        has_died = attempt.sent and attempt.status in {None, 200}
        return has_died and self._asker.pipeline.health.ill_for(candidate.name) <= BREAKDOWN

    def _next(self, lineup: Lineup) -> Candidate | None:
        """Any may be asked first; a retry draws on the budget of the target that receives it."""
        while (candidate := lineup.take()) is not None:
            if not self.attempt.has_asked or self.may_retry(candidate):
                return candidate
        return None

    def ask(self, candidate: Candidate, call: Call) -> Awaitable[Answer]:
        """One attempt; one that answers with a stream stays open."""
        return self.attempt.ask(candidate, call)

    async def lose(self, error: BaseException) -> ProviderError:
        """The answer on its way broke off; `Takeover` has another target go on."""
        serving = self.attempt.serving
        assert serving is not None, "an answer has a target"
        lost = await self.attempt.lose(error)
        self._retries.broke_off(serving.name)
        return lost

    def others(self) -> Iterator[Candidate]:
        """The targets to try now that have not had this request, best first."""
        planned = candidates(self._asker.pipeline, self._route, self._call)
        return (each for each in planned if each.name not in self._retries.spent_targets)

    def may_retry(self, candidate: Candidate) -> bool:
        """Whether that target has room for a retry; takes it."""
        return self._asker.pipeline.health.may_retry(candidate.name)

    def _resumable(self, answer: Answer) -> Answer:
        """The same answer, as a stream that goes on elsewhere."""
        if not isinstance(answer, Streamed):
            return answer
        options = self._call.body.get("stream_options") or {}
        stream = ResumingStream(
            answer.rest,
            Takeover(self, self._account, self._retries, self._asker, self._call),
            tells_tokens=bool(options.get("continuous_usage_stats")),
        )
        self.attempt.answer = Streamed(answer.sent, stream.joined.take(answer.held), stream)
        return self.attempt.answer

    async def _left(self, lineup: Lineup, error: ProviderError) -> Lineup:
        """Those whose turn has not come yet; once it has for all, another round."""
        return lineup if lineup.first() is not None else await self._next_round(error)

    async def _next_round(self, error: ProviderError) -> Lineup:
        """
        All have failed once: wait, first for a turn before the best of those that are busy, then
        for those that may be asked again; empty to give up.
        """
        if self._has_waited and _is_crowded(error):
            return NOBODY  # for as long as one may: it is time that the client heard of it
        if self._line is not None and not self._has_waited:
            self._has_waited = True
            return Lineup((self._line,), waits=True)
        spent = self._retries.spent_targets
        left = offering(self._route, self._call) - spent
        pause = self._retries.pause(self._asker.pipeline.health.soonest(left)) if left else None
        if pause is None:
            return NOBODY
        await asyncio.sleep(pause + EARLY)
        return Lineup(self.others())

    def _final(self, error: GatewayError | ProviderError) -> GatewayError | ProviderError:
        """The last error is the one the client hears of, with how long to wait."""
        if isinstance(error, ProviderError) and error.retryable:
            told = error.retry_after if isinstance(error, ProviderBusy) else None
            wait = soonest(self._asker.pipeline, self._route, self._call)
            error.retry_after = max(wait, told or 0.0, 1.0)
        return error


def _is_crowded(error: ProviderError) -> bool:
    """Whether no slot was free, which is what a line is for; its pace tells how long to wait."""
    return isinstance(error, ProviderBusy) and error.retry_after is not None


def candidates(pipeline: Pipeline, route: Route, call: Call) -> Iterator[Candidate]:
    """The targets to try now, best first."""
    health = pipeline.health
    return plan(route, call.operation, health.is_up, health.prefers, pipeline.chance)


def offering(route: Route, call: Call) -> set[str]:
    """Targets, up or down, that speak the operation."""
    return {each.name for each in route.offering(call.operation)}


def soonest(pipeline: Pipeline, route: Route, call: Call) -> float:
    """Seconds until a target of the model may be tried."""
    return pipeline.health.soonest(offering(route, call))
