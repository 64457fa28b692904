"""
The attempts of one request at the targets of one model: the next one takes over until one answers.

What stays true: one attempt is open at a time, its slot and its health's probe are given back
however it ends, and `serving` is the candidate whose attempt is open. Whether to go on after a
failure is `Retries`' to say, whom to ask next `routing`'s.

Hot: `ask` runs once an attempt; nothing here runs once a chunk.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from types import TracebackType

from ..contract.errors import (
    GatewayError,
    InvalidRequest,
    LimitExceeded,
    ProviderBusy,
    ProviderDisconnected,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimedOut,
    ProviderUnreachable,
    RequestExceedsLimit,
    Retry,
)
from ..pricing import ModelUnpriced
from ..quarantine import Case
from ..routing import Candidate, Route, plan, preferred_first
from ..telemetry.record import AttemptRecord, Record
from .account import Account
from .attempt import Answer, Attempt, Call, Streamed, Terms
from .events import Tally
from .interrupt import ClientHungUp, Interrupt
from .outcome import code_of
from .pipeline import Pipeline
from .resume import ResumingStream
from .retries import Retries
from .takeover import Takeover

EARLY = 0.002
"""Seconds by which a timer may fire too early: uvloop counts whole milliseconds."""

_OVERLOADED = (ProviderRateLimited, ProviderRefused, ProviderTimedOut)
"""Ends of attempts that say that the upstream has too much to do."""

_NOT_THIS_ONE = (InvalidRequest, LimitExceeded, ModelUnpriced, RequestExceedsLimit)
"""Refusals before anything is sent: not of the dialect of this target's kind, or too dear."""


@dataclass(frozen=True, slots=True)
class Hints:
    """
    What a client says of itself: `patience` is seconds of silence after which it leaves,
    `repeats` how often it has sent this request before.
    """

    patience: float = inf
    repeats: int = 0


class Asker:
    """
    Whose attempts these are: what a request has whichever model answers it. Made when the first
    is asked; `total` is the seconds that it may take from then on.
    """

    __slots__ = ("began", "hints", "interrupt", "now", "pipeline", "record", "total")

    def __init__(
        self, pipeline: Pipeline, record: Record, interrupt: Interrupt, hints: Hints, total: float
    ) -> None:
        self.pipeline = pipeline
        self.record = record
        self.interrupt = interrupt
        self.hints = hints
        self.total = total
        self.now = asyncio.get_running_loop().time
        self.began = self.now()


class Failover:
    """Of one request at the targets of `route`."""

    def __init__(
        self, asker: Asker, route: Route, terms: Terms, account: Account, case: Case
    ) -> None:
        self.answer: Answer | None = None
        self.serving: Candidate | None = None
        self._pipeline = asker.pipeline
        self._record = asker.record
        self._interrupt = asker.interrupt
        self._route = route
        self._terms = terms
        self._account = account
        self._case = case
        self._retries = Retries(
            route.settings.retries,
            ends_at=terms.content_by,
            now=terms.now,
            repeats=asker.hints.repeats,
        )
        self._open: Attempt | None = None
        self._probes = False
        self._has_asked = False
        self._waits = False
        self._content_after = 0.0

    async def first_answer(self, queue: deque[Candidate]) -> Answer:
        """
        An answer with content, from the first of `queue` that gives one. It stays open.

        Raises:
            GatewayError: a limit has no room for any of them, or they break down over it.
            ProviderError: none answered, or the one that did refused the request itself.
        """
        failure: GatewayError | ProviderError | None = None
        while (candidate := self._next(queue)) is not None:
            try:
                await self._account.afford(candidate.name)
                answer = await self.ask(candidate, self._terms)
            except _NOT_THIS_ONE as refusal:
                failure = failure or refusal
            except ProviderError as error:
                failure = error
                if self._was_killed(error):
                    await self._case.killed(candidate.provider.name)
                if not self._retries.allow_another(candidate.name, error):
                    break
                queue = queue or await self._next_round(error)
            else:
                await self._case.answered(candidate.provider.name)
                self.answer = self._resumable(answer)
                return self.answer
        assert failure is not None, "the first of them was asked"
        raise self._final(failure)

    def _was_killed(self, error: ProviderError) -> bool:
        """Whether the upstream may have broken down over the request, before it said anything."""
        last = self._record.attempts[-1:]
        return isinstance(error, ProviderDisconnected | ProviderUnreachable) and any(
            each.sent and each.status is None for each in last
        )

    def _next(self, queue: deque[Candidate]) -> Candidate | None:
        """Any may be asked first; a retry draws on the budget of the target that receives it."""
        while queue:
            candidate = queue.popleft()
            if not self._has_asked or self._pipeline.health.may_retry(candidate.name):
                return candidate
        return None

    async def lose(self, error: BaseException) -> ProviderError:
        """The answer on its way broke off; `Takeover` has another target go on."""
        opened, serving = self._open, self.serving
        assert opened is not None, "an answer's attempt is open"
        assert serving is not None, "an attempt has a target"
        if isinstance(error, asyncio.CancelledError) and not opened.timed_out:
            raise error
        self._open = None
        try:
            await opened.__aexit__(type(error), error, error.__traceback__)
        except ProviderError as renamed:  # a deadline that passed has named itself
            error = renamed
        finally:
            self._ended()
            self.judge(error)
            self.serving = None
        if not isinstance(error, ProviderError):
            raise error
        self._retries.broke_off(serving.name)
        return error

    def others(self) -> Iterator[Candidate]:
        """The targets to try now that have not had this request, best first."""
        planned = candidates(self._pipeline, self._route, self._terms.call)
        return (each for each in planned if each.name not in self._retries.spent_targets)

    def may_retry(self, candidate: Candidate) -> bool:
        """Whether that target has room for a retry; takes it."""
        return self._pipeline.health.may_retry(candidate.name)

    def _resumable(self, answer: Answer) -> Answer:
        """The same answer; a stream that goes on elsewhere where its model says so."""
        if not self._route.settings.resume or not isinstance(answer, Streamed):
            return answer
        options = self._terms.call.body.get("stream_options") or {}
        stream = ResumingStream(
            answer.rest,
            Takeover(self, self._account, self._retries, self._terms),
            tells_tokens=bool(options.get("continuous_usage_stats")),
        )
        return Streamed(answer.sent, stream.joined.take(answer.held), stream)

    async def release(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Free the upstream connection: at once, or after draining it if its provider says so."""
        opened, self._open = self._open, None
        if opened is None:
            return
        try:
            if isinstance(self.answer, Streamed):
                await self._read_on(self.answer)
        finally:
            try:
                await opened.__aexit__(kind, error, traceback)
            finally:
                self._ended()

    def judge(self, error: BaseException | None) -> None:
        """What the end of the answer says of the target that gave it."""
        if self.serving is None:
            return
        if error is None:
            self._pipeline.health.succeeded(self.serving.name)
        elif isinstance(error, ProviderError):
            self._record.attempts[-1].error = code_of(error)
            self._pipeline.health.failed(self.serving.name, error)

    async def _next_round(self, error: ProviderError) -> deque[Candidate]:
        """All have failed once: wait, then those that may be asked again; empty to give up."""
        if isinstance(error, ProviderBusy) and (line := self._line()):
            self._waits = True
            return line
        spent = self._retries.spent_targets
        left = offering(self._route, self._terms.call) - spent
        pause = self._retries.pause(self._pipeline.health.soonest(left)) if left else None
        if pause is None:
            return deque()
        await asyncio.sleep(pause + EARLY)
        again = candidates(self._pipeline, self._route, self._terms.call)
        return deque(each for each in again if each.name not in spent)

    def _line(self) -> deque[Candidate]:
        """The best target before which a request may wait for its turn, if it has not yet."""
        if self._waits:
            return deque()
        planned = candidates(self._pipeline, self._route, self._terms.call)
        spent = self._retries.spent_targets
        lines = [each for each in planned if each.provider.settings.queue.size]
        return deque([each for each in lines if each.name not in spent][:1])

    def _final(self, error: GatewayError | ProviderError) -> GatewayError | ProviderError:
        """The last error is the one the client hears of, with how long to wait."""
        if isinstance(error, ProviderError) and error.retryable:
            told = error.retry_after if isinstance(error, ProviderBusy) else None
            wait = soonest(self._pipeline, self._route, self._terms.call)
            error.retry_after = max(wait, told or 0.0, 1.0)
        return error

    async def ask(self, candidate: Candidate, terms: Terms) -> Answer:
        """One attempt; the one that answers stays open until the request ends."""
        pipeline, account = self._pipeline, self._account
        self._probes = await pipeline.admit(
            candidate,
            self._record.tenant,
            waits_until=terms.content_by if self._waits else None,
        )
        self.serving = candidate
        record = pipeline.attempt_record(self._record, candidate)
        account.tally = Tally()
        if not self._has_asked:
            self._has_asked = True
            pipeline.health.sent(candidate.name)
        try:
            headers = pipeline.attempt_headers(self._record, record)
            attempt = Attempt(terms, candidate, record, account.tally, headers)
            answer = await self._entered(attempt, candidate)
        except BaseException as error:
            if isinstance(error, ProviderError) and error.retry is Retry.ONCE:
                account.abandon(record)
            self._failed(record, candidate, error)
            raise
        self._open, self.answer = attempt, self.answer or answer
        self._record.target = candidate.name
        self._content_after = pipeline.clock() - record.started
        self._release_probe(candidate)  # one that streams holds up nobody
        self._interrupt.catch_up()
        return answer

    async def _entered(self, attempt: Attempt, candidate: Candidate) -> Answer:
        """The attempt's answer; a provider that bills anyway may finish it without the client."""
        settings = candidate.provider.settings
        if settings.on_hang_up == "abort":
            return await attempt.__aenter__()
        self._interrupt.put_off(lambda: attempt.hurry(settings.drain_timeout))
        try:
            return await attempt.__aenter__()
        except BaseException:
            self._interrupt.catch_up()
            raise

    def _failed(self, record: AttemptRecord, candidate: Candidate, error: BaseException) -> None:
        record.ended = self._pipeline.clock()
        record.error = code_of(error)
        self._pipeline.queues.give_back(
            candidate.provider, overloaded=isinstance(error, _OVERLOADED)
        )
        self.serving = None
        if isinstance(error, ProviderError) and not isinstance(error, ProviderBusy):
            self._pipeline.health.failed(candidate.name, error)
        else:
            self._release_probe(candidate)

    def _release_probe(self, candidate: Candidate) -> None:
        if self._probes:
            self._pipeline.health.released(candidate.name)

    async def _read_on(self, answer: Streamed) -> None:
        """What is left to read when the client has all that it will get."""
        if answer.rest.done:
            answer.rest.unwatch()
            await answer.rest.read_out()
        elif isinstance(self._interrupt.error, ClientHungUp):
            await self._drain(answer)

    async def _drain(self, answer: Streamed) -> None:
        """Read on without the client, for a provider that bills anyway, to learn the usage."""
        assert self.serving is not None, "an answer has a target"
        settings = self.serving.provider.settings
        if settings.on_hang_up == "abort":
            return
        answer.rest.unwatch()
        try:
            async with asyncio.timeout(settings.drain_timeout):
                while await answer.rest.next():
                    pass
        except (TimeoutError, ProviderError):
            return  # what was counted so far stands

    def _ended(self) -> None:
        assert self.serving is not None, "an attempt has a target"
        self._pipeline.queues.give_back(self.serving.provider, seconds=self._content_after)
        self._record.attempts[-1].ended = self._pipeline.clock()


def candidates(pipeline: Pipeline, route: Route, call: Call) -> Sequence[Candidate]:
    """The targets to try now, best first."""
    health = pipeline.health
    planned = plan(route, call.operation, health.is_up, pipeline.chance)
    return preferred_first(planned, health.prefers)


def offering(route: Route, call: Call) -> set[str]:
    """Targets, up or down, that speak the operation."""
    return {each.name for each in route.candidates if call.operation in each.provider.operations}


def soonest(pipeline: Pipeline, route: Route, call: Call) -> float:
    """Seconds until a target of the model may be tried."""
    return pipeline.health.soonest(offering(route, call))
