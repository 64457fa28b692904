"""
The life of one request, from its headers to its record.

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
    NoHealthyUpstream,
    ProviderBusy,
    ProviderError,
    UnknownModel,
)
from ..contract.provider import Operation
from ..limits import (
    Amounts,
    Ask,
    LimitReached,
    Reservation,
    Standing,
    prompt_tokens,
    reserved_tokens,
)
from ..routing import Candidate, Route, plan
from ..telemetry.record import AttemptRecord
from .attempt import Answer, Attempt, Call, Streamed, Terms
from .events import Tally
from .interrupt import ClientHungUp, Interrupt
from .outcome import LEFT, code_of, conclude
from .pipeline import Pipeline
from .retries import Retries

EARLY = 0.002
"""Seconds by which a timer may fire too early: uvloop counts whole milliseconds."""


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
        self.standings: tuple[Standing, ...] = ()
        self.serving: Candidate | None = None
        self.exposes_target = False
        self._operation = operation
        self._probes = False
        self._reservation: Reservation | None = None
        self._pipeline = pipeline
        self._snapshot = pipeline.snapshot
        self._call: Call | None = None
        self._tally = Tally()
        self._answer: Answer | None = None
        self._open: Attempt | None = None

    async def __aenter__(self) -> Self:
        self.interrupt.__enter__()
        self._pipeline.began(self.record, self.interrupt)
        return self

    async def identify(self, headers: Sequence[tuple[bytes, bytes]]) -> Caller:
        """
        Station 2: who asks.

        Raises:
            InvalidKey: nobody who is known.
        """
        caller = await self._snapshot.access.caller(headers)
        self.record.tenant, self.record.key = caller.tenant, caller.key_id
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
        self._call = Call(self._operation, body, stream)
        await self._reserve(caller, route, self._call)
        self._answer = await self._first_that_answers(route, self._call)
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

    async def _reserve(self, caller: Caller, route: Route, call: Call) -> None:
        limits = self._snapshot.plans.limits_of(
            tenant=caller.tenant, plan=caller.plan, key_id=caller.key_id, key_plan=caller.key_plan
        )
        if not limits:
            return
        tokens = 0
        if any(limit.measure == "tokens" for limit in limits):
            tokens = reserved_tokens(
                call.operation, call.body, max_output=route.settings.max_output
            )
        self.record.reserved_tokens = tokens
        try:
            self._reservation = await self._pipeline.limiter.reserve(
                self.record.request_id, caller.tenant, limits, Ask(Amounts(tokens))
            )
        except LimitReached as refusal:
            self.standings = refusal.standings
            raise
        self._reservation.on_lost = self._stop
        self.standings = self._reservation.standings

    def _stop(self) -> None:
        self.interrupt(LeaseLost("The request lost its place under the concurrency limit."))

    def _prompt_tokens(self) -> int:
        assert self._call is not None, "estimated only for a request that was read"
        return prompt_tokens(self._call.operation, self._call.body)

    async def _first_that_answers(self, route: Route, call: Call) -> Answer:
        now = asyncio.get_running_loop().time
        ends_at = now() + route.settings.timeouts.total
        terms = Terms(self._pipeline.upstream, call, route.settings.timeouts, ends_at, now)
        retries = Retries(route.settings.retries, ends_at=ends_at, now=now)
        queue = deque(self._candidates(route, call))
        if not queue:
            raise NoHealthyUpstream(
                "No upstream of this model is available.", retry_after=self._soonest(route)
            )
        while True:
            candidate = queue.popleft()
            try:
                return await self._attempt(terms, candidate)
            except InvalidRequest:  # not of the dialect of this kind, but perhaps of the next one's
                if not queue:
                    raise
            except ProviderError as error:
                if not retries.allow_another(candidate.name, error):
                    raise self._final(route, error) from None
                queue = queue or await self._next_round(route, call, retries)
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

    async def _attempt(self, terms: Terms, candidate: Candidate) -> Answer:
        """One attempt; the one that answers stays open until the request ends."""
        self._probes = self._pipeline.admit(candidate)
        self.serving = candidate
        record = self._pipeline.attempt_record(self.record, candidate)
        self._tally = Tally()
        try:
            headers = self._pipeline.attempt_headers(self.record, record)
            attempt = Attempt(terms, candidate, record, self._tally, headers)
            answer = await attempt.__aenter__()
        except BaseException as error:
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
            try:
                await self._settle()
            finally:
                self._finish(ended)
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

    async def _settle(self) -> None:
        """Station 10: charge what was used; the rest of the reservation goes back."""
        self._charge()
        if self._reservation is not None:
            reservation, self._reservation = self._reservation, None
            reservation.on_lost = None
            await self._pipeline.limiter.settle(
                reservation, Amounts(self.record.prompt_tokens + self.record.completion_tokens)
            )

    def _charge(self) -> None:
        record, tally = self.record, self._tally
        if self._answer is None and not self._left_while_asking():
            return  # no target answered: that costs the operator, not the tenant
        if tally.usage is not None:
            record.prompt_tokens = tally.usage.prompt
            record.completion_tokens = tally.usage.completion
            record.cached_tokens = tally.usage.cached
        else:
            record.usage_source = "counted"
            record.prompt_tokens = self._prompt_tokens()
            record.completion_tokens = tally.pieces
        record.finish_reasons = tally.finish_reasons

    def _left_while_asking(self) -> bool:
        """Whether the client hung up on an upstream that may have had the prompt already."""
        hung_up = isinstance(self.interrupt.error, ClientHungUp)
        return hung_up and any(each.error == LEFT for each in self.record.attempts[-1:])

    def _finish(self, error: BaseException | None) -> None:
        """Stations 10 and 11: health hears of the target, observers of the request."""
        if self.interrupt.error is not None and isinstance(error, asyncio.CancelledError):
            error = self.interrupt.error
        if self.serving is not None:
            self._judge(self.serving, error)
        conclude(self.record, error, committed=self._answer is not None)
        self._pipeline.finished(self.record, self.interrupt)

    def _judge(self, target: Candidate, error: BaseException | None) -> None:
        """What the end of an answer says of the target that gave it."""
        if error is None:
            self._pipeline.health.succeeded(target.name)
        elif isinstance(error, ProviderError):
            self.record.attempts[-1].error = code_of(error)
            self._pipeline.health.failed(target.name, error)
