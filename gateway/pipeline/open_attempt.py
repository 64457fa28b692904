"""
The attempt of a request that is open: one at a time, whatever becomes of it.

What stays true: its slot and its health's probe are given back, and health hears how it ended,
exactly once; `serving` is the candidate that it was sent to, None while there is none. Whom to ask,
and whether to ask again, is `failover`'s to say.

Hot: `ask` runs once an attempt; nothing here runs once a chunk.
"""

import asyncio

from ..contract.errors import (
    ProviderBusy,
    ProviderCutShort,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimedOut,
    Retry,
)
from ..queueing import Lane
from ..routing import Candidate
from ..telemetry.record import AttemptRecord
from .account import Account
from .asker import Asker
from .attempt import Answer, Attempt, Streamed
from .call import Call
from .events import Tally
from .interrupt import ClientHungUp
from .outcome import code_of

_OVERLOADED = (ProviderRateLimited, ProviderRefused, ProviderTimedOut)
"""Ends of attempts that say that the upstream has too much to do."""

_NOBODYS_FAULT = (ProviderBusy, ProviderCutShort)
"""Ends of attempts that say nothing of the target."""


class OpenAttempt:
    """Of one request at one model. `answer` is what its client gets, once there is something."""

    answer: Answer | None = None
    serving: Candidate | None = None
    has_asked = False
    """Whether anybody has been asked: whoever is asked next is asked again."""
    _lane: Lane
    _open: Attempt | None = None
    _probes = False
    _content_after = 0.0

    def __init__(self, asker: Asker, account: Account) -> None:
        self._asker = asker
        self._account = account

    @property
    def is_open(self) -> bool:
        """Whether a stream is on its way, which `release` ends."""
        return self._open is not None

    async def ask(self, candidate: Candidate, call: Call, *, waits: bool = False) -> Answer:
        """
        One attempt; one that answers with a stream stays open until the request ends. It may wait
        for its turn before a provider that is busy.

        Raises:
            ProviderError, InvalidRequest: there is no answer.
        """
        asker, account, name = self._asker, self._account, candidate.name
        pipeline, record = asker.pipeline, asker.record
        health = pipeline.health
        self._lane = lane = pipeline.queues.lane(candidate.provider)
        if not lane.take():
            # An instant that has passed: refused at once, with the measured time to come back.
            await lane.wait(record.tenant, asker.content_by if waits else 0.0)
        if not health.admits(name):
            lane.give_back()
            raise ProviderBusy("being probed")
        self._probes = health.probes(name)
        self.serving = candidate
        attempt = pipeline.attempt_record(record, candidate)
        account.tally = tally = Tally()
        if not self.has_asked:
            self.has_asked = True
            health.sent(name)
        try:
            opened = Attempt(asker, call, candidate, attempt, tally)
            headers = pipeline.attempt_headers(record, attempt)
            if candidate.drains:
                answer = await self._patiently(opened, candidate, headers)
            else:
                answer = await opened.answer(headers)
        except BaseException as error:
            self._failed(attempt, candidate, error)
            asker.interrupt.catch_up()
            raise
        self._answered(answer, opened, candidate, attempt)
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
            await opened.close(error)
        except ProviderError as renamed:  # a deadline that passed has named itself
            error = renamed
        finally:
            self._ended()
            self.judge(error)
            self.serving = None
        if not isinstance(error, ProviderError):
            raise error
        return error

    async def release(self, error: BaseException | None) -> None:
        """
        Free the upstream connection: at once, or after draining it if its provider says so.
        `error` is what ended the request, None for nothing.
        """
        opened, self._open = self._open, None
        assert opened is not None, "a stream is on its way"
        assert isinstance(self.answer, Streamed), "a whole answer's attempt is over"
        try:
            await self._read_on(self.answer)
        finally:
            try:
                await opened.close(error)
            finally:
                self._ended()

    def judge(self, error: BaseException | None) -> None:
        """What the end of the answer says of the target that gave it."""
        if self.serving is None:
            return
        if error is None:
            self._asker.pipeline.health.succeeded(self.serving.name)
        elif isinstance(error, ProviderError):
            self._asker.record.attempts[-1].error = code_of(error)
            self._asker.pipeline.health.failed(self.serving.name, error)

    async def _patiently(
        self, attempt: Attempt, candidate: Candidate, headers: tuple[tuple[bytes, bytes], ...]
    ) -> Answer:
        """The answer of a provider that bills anyway: it may finish without the client."""
        interrupt, settings = self._asker.interrupt, candidate.provider.settings
        interrupt.put_off(lambda: attempt.hurry(settings.drain_timeout))
        try:
            return await attempt.answer(headers)
        except ProviderCutShort:  # if the client has left, then that is what ended it
            interrupt.catch_up()
            raise

    def _answered(
        self, answer: Answer, opened: Attempt, candidate: Candidate, attempt: AttemptRecord
    ) -> None:
        record, pipeline = self._asker.record, self._asker.pipeline
        now = pipeline.clock()
        if self.answer is None:
            self.answer = answer
        record.target = candidate.name
        if self._probes:  # one that streams holds up nobody
            pipeline.health.released(candidate.name)
        content_after = now - attempt.started
        if isinstance(answer, Streamed):
            self._open = opened
            self._content_after = content_after
        else:
            self._lane.give_back(seconds=content_after)
            attempt.ended = now
        if candidate.drains:
            self._asker.interrupt.catch_up()
        if record.first_content is None:
            record.first_content = now

    def _failed(self, record: AttemptRecord, candidate: Candidate, error: BaseException) -> None:
        pipeline = self._asker.pipeline
        if isinstance(error, ProviderError) and error.retry is Retry.ONCE:
            self._account.abandon(record)
        record.ended = pipeline.clock()
        record.error = code_of(error)
        tells = isinstance(error, ProviderError) and not isinstance(error, _NOBODYS_FAULT)
        self._lane.give_back(overloaded=tells and isinstance(error, _OVERLOADED))
        self.serving = None
        if isinstance(error, ProviderError) and tells:
            pipeline.health.failed(candidate.name, error)
        elif self._probes:
            pipeline.health.released(candidate.name)

    async def _read_on(self, answer: Streamed) -> None:
        """What is left to read when the client has all that it will get."""
        if answer.rest.done:
            answer.rest.unwatch()
            await answer.rest.read_out()
        elif isinstance(self._asker.interrupt.error, ClientHungUp):
            await self._drain(answer)

    async def _drain(self, answer: Streamed) -> None:
        """Read on without the client, for a provider that bills anyway, to learn the usage."""
        assert self.serving is not None, "an answer has a target"
        if not self.serving.drains:
            return
        answer.rest.unwatch()
        ends = asyncio.timeout(self.serving.provider.settings.drain_timeout)

        def stop() -> None:
            if not ends.expired():
                ends.reschedule(0.0)

        try:
            async with ends:
                with self._asker.interrupt.hurries(stop):
                    while await answer.rest.next():
                        pass
        except (TimeoutError, ProviderError):
            return  # what was counted so far stands

    def _ended(self) -> None:
        self._lane.give_back(seconds=self._content_after)
        self._asker.record.attempts[-1].ended = self._asker.pipeline.clock()
