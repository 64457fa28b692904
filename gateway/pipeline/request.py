"""
The life of one request, from its headers to its record and its row in the ledger.

Entered as one `async with`: whatever was opened, reserved or counted on the way is released,
settled and recorded when the block is left, however it is left. A refusal is an exception and
ends the block; so do a hang-up and a shutdown, by way of the `interrupt`.

Hot: everything here runs once a request, `_attempt` once an attempt; nothing once a chunk.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from ..access import Caller
from ..contract.errors import (
    GatewayError,
    InvalidRequest,
    LimitExceeded,
    NoHealthyUpstream,
    ProviderBusy,
    ProviderError,
    RequestExceedsLimit,
    Retry,
    UnknownModel,
)
from ..contract.provider import Operation
from ..pricing import ModelUnpriced
from ..routing import Candidate, Route, plan
from ..telemetry.record import AttemptRecord
from .account import Account
from .attempt import Answer, Attempt, Call, Streamed, Terms
from .events import Tally
from .interrupt import ClientHungUp, Interrupt
from .outcome import LEFT, code_of, conclude
from .pipeline import Pipeline
from .reckoning import Reckoning
from .retries import Retries

EARLY = 0.002
"""Seconds by which a timer may fire too early: uvloop counts whole milliseconds."""


_NOT_THIS_ONE = (InvalidRequest, LimitExceeded, ModelUnpriced, RequestExceedsLimit)
"""Refusals before anything is sent: not of the dialect of this target's kind, or too dear."""


class LeaseLost(GatewayError):
    """The limiter gave this request's slot away while it ran, so it stops."""

    status, type, code, retryable = 503, "server_error", "lease_lost", True


class Request:
    """One request on its way. `record` is filled in as it goes along."""

    def __init__(
        self,
        pipeline: Pipeline,
        operation: Operation,
        headers: Iterable[tuple[bytes, bytes]],
        client_request_id: str,
    ) -> None:
        self.record = pipeline.record(operation, headers, client_request_id)
        self.interrupt = Interrupt()
        self.account: Account | None = None
        self.serving: Candidate | None = None
        self.exposes_target = False
        self._operation = operation
        self._probes = False
        self._pipeline = pipeline
        self._snapshot = pipeline.snapshot
        self._answer: Answer | None = None
        self._open: Attempt | None = None

    async def __aenter__(self) -> Self:
        self.interrupt.__enter__()
        self._pipeline.began(self.record, self.interrupt)
        return self

    async def identify(
        self, headers: Sequence[tuple[bytes, bytes]], client: str | None = None
    ) -> Caller:
        """
        Station 2: who asks, from which address.

        Raises:
            GatewayError: nobody who is known, or who may do this from there.
        """
        caller = await self._snapshot.access.caller(headers, client)
        self.record.tenant, self.record.key = caller.tenant, caller.key_id
        self.record.project = caller.project or ""
        return caller

    async def answer(self, caller: Caller, body: dict[str, Any], *, stream: bool) -> Answer:
        """
        Stations 3 to 7: an answer with content, from the first target that gives one.

        Raises:
            GatewayError: refused; no counter has changed.
            ProviderError: no target answered, or the one that did refused the request itself.
        """
        self.record.stream = stream
        route = self._route(caller, body["model"])
        call = Call(self._operation, body, stream)
        queue = deque(self._candidates(route, call))
        if not queue:
            raise NoHealthyUpstream(
                "No upstream of this model is available.", retry_after=self._soonest(route)
            )
        account = await self._reserve(caller, route, call, queue)
        terms = self._terms(route, call, account)
        self._answer = await self._first_that_answers(route, terms, account, queue)
        self.record.first_content = self._pipeline.clock()
        return self._answer

    def _route(self, caller: Caller, model: str) -> Route:
        route = self._snapshot.routes.find(model)
        if route is None or not caller.may_use(model):
            raise UnknownModel
        self.record.model = model
        self.exposes_target = route.settings.expose_target
        if route.candidates and not route.offers(self._operation):
            raise InvalidRequest(f"This model does not offer {self._operation}s.", param="model")
        return route

    async def _reserve(
        self, caller: Caller, route: Route, call: Call, queue: deque[Candidate]
    ) -> Account:
        """Station 4: what the request may come to is taken from every limit, or nothing is."""
        pipeline, snapshot = self._pipeline, self._snapshot
        pipeline.check_ledger()
        limits = snapshot.plans.limits_of(caller.levels, route.model)
        reckoning = Reckoning(call, route.settings, limits, snapshot.tariff)
        self.account = account = Account(reckoning, pipeline.limiter, self.record)
        await account.open(caller.tenant, limits, queue, self._stop)
        return account

    def _stop(self) -> None:
        self.interrupt(LeaseLost("The request lost its place under the concurrency limit."))

    def _terms(self, route: Route, call: Call, account: Account) -> Terms:
        now = asyncio.get_running_loop().time
        timeouts = route.settings.timeouts
        return Terms(
            self._pipeline.upstream,
            call,
            timeouts,
            ends_at=now() + timeouts.total,
            now=now,
            max_output=account.lowered_cap,
            most=account.reckoning.most,
        )

    async def _first_that_answers(
        self, route: Route, terms: Terms, account: Account, queue: deque[Candidate]
    ) -> Answer:
        retries = Retries(route.settings.retries, ends_at=terms.ends_at, now=terms.now)
        failure: ProviderError | None = None
        while True:
            candidate = queue.popleft()
            try:
                await account.afford(candidate.name)
                return await self._attempt(terms, account, candidate)
            except _NOT_THIS_ONE as refusal:
                if not queue:
                    raise (self._final(route, failure) if failure else refusal) from None
            except ProviderError as error:
                failure = error
                if not retries.allow_another(candidate.name, error):
                    raise self._final(route, error) from None
                queue = queue or await self._next_round(route, terms.call, retries)
                if not queue:
                    raise self._final(route, error) from None

    def _candidates(self, route: Route, call: Call) -> Sequence[Candidate]:
        is_up = self._pipeline.health.is_up
        return plan(route, call.operation, is_up, self._pipeline.chance)

    async def _next_round(self, route: Route, call: Call, retries: Retries) -> deque[Candidate]:
        """All have failed once: wait, then those that may be asked again; empty to give up."""
        left = self._offering(route) - retries.spent_targets
        pause = retries.pause(self._pipeline.health.soonest(left)) if left else None
        if pause is None:
            return deque()
        await asyncio.sleep(pause + EARLY)
        return deque(
            each for each in self._candidates(route, call) if each.name not in retries.spent_targets
        )

    def _soonest(self, route: Route) -> float:
        return self._pipeline.health.soonest(self._offering(route))

    def _offering(self, route: Route) -> set[str]:
        """Targets, up or down, that speak the operation."""
        offering = (
            each for each in route.candidates if self._operation in each.provider.operations
        )
        return {each.name for each in offering}

    def _final(self, route: Route, error: ProviderError) -> ProviderError:
        """The last error is the one the client hears of, with how long to wait."""
        if error.retryable:
            error.retry_after = max(self._soonest(route), 1.0)
        return error

    async def _attempt(self, terms: Terms, account: Account, candidate: Candidate) -> Answer:
        """One attempt; the one that answers stays open until the request ends."""
        self._probes = self._pipeline.admit(candidate)
        self.serving = candidate
        record = self._pipeline.attempt_record(self.record, candidate)
        account.tally = Tally()
        try:
            headers = self._pipeline.attempt_headers(self.record, record)
            attempt = Attempt(terms, candidate, record, account.tally, headers)
            answer = await attempt.__aenter__()
        except BaseException as error:
            if isinstance(error, ProviderError) and error.retry is Retry.ONCE:
                account.abandon(record)
            self._attempt_failed(record, candidate, error)
            raise
        self._open = attempt
        self.record.target = candidate.name
        self._release_probe(candidate)  # one that streams holds up nobody
        return answer

    def _attempt_failed(
        self, record: AttemptRecord, candidate: Candidate, error: BaseException
    ) -> None:
        record.ended = self._pipeline.clock()
        record.error = code_of(error)
        self._pipeline.slots.give_back(candidate.provider)
        self.serving = None
        if isinstance(error, ProviderError) and not isinstance(error, ProviderBusy):
            self._pipeline.health.failed(candidate.name, error)
        else:
            self._release_probe(candidate)

    def _release_probe(self, candidate: Candidate) -> None:
        if self._probes:
            self._pipeline.health.released(candidate.name)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended = error
        self.interrupt.disarm()  # settling is not cut short
        try:
            await self._release(kind, error, traceback)
        except ProviderError as renamed:  # a deadline that passed has named itself
            ended = renamed
        finally:
            self._conclude(ended)
            try:
                if self.account is not None:
                    await self.account.settle()
            finally:
                self._pipeline.finished(self.record, self.interrupt)
        self.interrupt.__exit__(kind, error, traceback)
        if ended is not None and ended is not error:
            raise ended from None

    async def _release(
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
            if isinstance(self._answer, Streamed):
                await self._read_on(self._answer)
        finally:
            try:
                await opened.__aexit__(kind, error, traceback)
            finally:
                self._attempt_ended()

    async def _read_on(self, answer: Streamed) -> None:
        """What is left to read when the client has all that it will get."""
        if answer.rest.done:
            answer.rest.unwatch()
            await answer.rest.read_out()
        elif isinstance(self.interrupt.error, ClientHungUp):
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

    def _attempt_ended(self) -> None:
        assert self.serving is not None, "an attempt has a target"
        self._pipeline.slots.give_back(self.serving.provider)
        self.record.attempts[-1].ended = self._pipeline.clock()

    def _conclude(self, error: BaseException | None) -> None:
        """What it has come to: the record is complete, and health hears of the target."""
        if self.interrupt.error is not None and isinstance(error, asyncio.CancelledError):
            error = self.interrupt.error
        if self.account is not None and (self._answer is not None or self._left_while_asking()):
            self.account.charge()
        if self.serving is not None:
            self._judge(self.serving, error)
        conclude(self.record, error, committed=self._answer is not None)
        self.record.ended = self._pipeline.clock()

    def _left_while_asking(self) -> bool:
        """Whether it was interrupted while an upstream may have had the prompt already."""
        interrupted = self.interrupt.error is not None
        return interrupted and any(each.error == LEFT for each in self.record.attempts[-1:])

    def _judge(self, target: Candidate, error: BaseException | None) -> None:
        """What the end of an answer says of the target that gave it."""
        if error is None:
            self._pipeline.health.succeeded(target.name)
        elif isinstance(error, ProviderError):
            self.record.attempts[-1].error = code_of(error)
            self._pipeline.health.failed(target.name, error)
