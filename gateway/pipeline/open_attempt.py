"""
The attempt of a request that is open: one at a time, whatever becomes of it.

What stays true: its slot and its health's probe are given back, and health hears how it ended,
exactly once; `serving` is the candidate that it was sent to, None while there is none. Whom to ask,
and whether to ask again, is `failover`'s to say.

Hot: `ask` runs once an attempt; nothing here runs once a chunk.
"""

import asyncio
from dataclasses import dataclass
from math import inf
from types import TracebackType

from ..contract.errors import (
    ProviderBusy,
    ProviderCutShort,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimedOut,
    Retry,
)
from ..routing import Candidate
from ..telemetry.record import AttemptRecord, Record
from .account import Account
from .attempt import Answer, Attempt, Streamed, Terms
from .events import Tally
from .interrupt import ClientHungUp, Interrupt
from .outcome import code_of
from .pipeline import Pipeline

_OVERLOADED = (ProviderRateLimited, ProviderRefused, ProviderTimedOut)
"""Ends of attempts that say that the upstream has too much to do."""

_NOBODYS_FAULT = (ProviderBusy, ProviderCutShort)
"""Ends of attempts that say nothing of the target."""


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

    __slots__ = ("began", "ends_at", "hints", "interrupt", "now", "pipeline", "record")

    def __init__(
        self, pipeline: Pipeline, record: Record, interrupt: Interrupt, hints: Hints, total: float
    ) -> None:
        self.pipeline = pipeline
        self.record = record
        self.interrupt = interrupt
        self.hints = hints
        self.now = pipeline.loop.time
        self.began = self.now()
        self.ends_at = self.began + total

    @property
    def is_late(self) -> bool:
        """Whether an answer would help its client no more."""
        return self.now() >= min(self.ends_at, self.began + self.hints.patience)


class OpenAttempt:
    """Of one request. `answer` is what its client gets, once there is something."""

    def __init__(self, asker: Asker, account: Account) -> None:
        self.answer: Answer | None = None
        self.serving: Candidate | None = None
        self.has_asked = False
        """Whether anybody has been asked: whoever is asked next is asked again."""
        self._pipeline = asker.pipeline
        self._record = asker.record
        self._interrupt = asker.interrupt
        self._account = account
        self._open: Attempt | None = None
        self._probes = False
        self._content_after = 0.0

    async def ask(self, candidate: Candidate, terms: Terms, *, waits: bool = False) -> Answer:
        """
        One attempt; one that answers with a stream stays open until the request ends. It may wait
        for its turn before a provider that is busy.

        Raises:
            ProviderError, InvalidRequest: there is no answer.
        """
        pipeline, account = self._pipeline, self._account
        if not pipeline.queues.try_take(candidate.provider):
            # An instant that has passed: refused at once, with the measured time to come back.
            until = terms.content_by if waits else 0.0
            await pipeline.queues.take(candidate.provider, self._record.tenant, until=until)
        self._probes = pipeline.admit(candidate)
        self.serving = candidate
        record = pipeline.attempt_record(self._record, candidate)
        account.tally = Tally()
        if not self.has_asked:
            self.has_asked = True
            pipeline.health.sent(candidate.name)
        try:
            headers = pipeline.attempt_headers(self._record, record)
            attempt = Attempt(terms, candidate, record, account.tally, headers)
            if candidate.provider.settings.on_hang_up == "abort":
                answer = await attempt.__aenter__()
            else:
                answer = await self._patiently(attempt, candidate)
        except BaseException as error:
            if isinstance(error, ProviderError) and error.retry is Retry.ONCE:
                account.abandon(record)
            self._failed(record, candidate, error)
            self._interrupt.catch_up()
            raise
        self.answer = self.answer or answer
        self._record.target = candidate.name
        self._content_after = pipeline.clock() - record.started
        self._release_probe(candidate)  # one that streams holds up nobody
        if isinstance(answer, Streamed):
            self._open = attempt
        else:
            self._ended()
        self._interrupt.catch_up()
        return answer

    async def lose(self, error: BaseException) -> ProviderError:
        """
        The answer on its way broke off: close it. What became of it, by its name.

        Raises:
            CancelledError: that was not the end of the attempt but of the request.
        """
        opened = self._open
        assert opened is not None, "an answer's attempt is open"
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
        return error

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
        assert isinstance(self.answer, Streamed), "a whole answer's attempt is over"
        try:
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

    async def _patiently(self, attempt: Attempt, candidate: Candidate) -> Answer:
        """The answer of a provider that bills anyway: it may finish without the client."""
        settings = candidate.provider.settings
        self._interrupt.put_off(lambda: attempt.hurry(settings.drain_timeout))
        try:
            return await attempt.__aenter__()
        except ProviderCutShort:  # if the client has left, then that is what ended it
            self._interrupt.catch_up()
            raise

    def _failed(self, record: AttemptRecord, candidate: Candidate, error: BaseException) -> None:
        record.ended = self._pipeline.clock()
        record.error = code_of(error)
        tells = isinstance(error, ProviderError) and not isinstance(error, _NOBODYS_FAULT)
        self._pipeline.queues.give_back(
            candidate.provider, overloaded=tells and isinstance(error, _OVERLOADED)
        )
        self.serving = None
        if isinstance(error, ProviderError) and tells:
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
        ends = asyncio.timeout(settings.drain_timeout)

        def stop() -> None:
            if not ends.expired():
                ends.reschedule(0.0)

        try:
            async with ends:
                with self._interrupt.hurries(stop):
                    while await answer.rest.next():
                        pass
        except (TimeoutError, ProviderError):
            return  # what was counted so far stands

    def _ended(self) -> None:
        assert self.serving is not None, "an attempt has a target"
        self._pipeline.queues.give_back(self.serving.provider, seconds=self._content_after)
        self._record.attempts[-1].ended = self._pipeline.clock()
