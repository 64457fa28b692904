"""
The life of one request, from its headers to its record and its row in the ledger.

Entered as one `async with`: whatever was opened, reserved or counted on the way is released,
settled and recorded when the block is left, however it is left. A refusal is an exception and
ends the block; so do a hang-up and a shutdown, by way of the `interrupt`.

Hot: everything here runs once a request, `_answer_by` once a model; nothing once a chunk.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

from ..access import Caller
from ..contract.errors import (
    GatewayError,
    InvalidRequest,
    NoHealthyUpstream,
    ProviderAuthFailed,
    ProviderError,
    ProviderQuotaExhausted,
    RequestQuarantined,
    UnknownModel,
)
from ..contract.head import Head
from ..contract.provider import Operation
from ..routing import Candidate, Route
from .account import Account
from .asker import Asker, Hints
from .attempt import Answer
from .call import Call
from .failover import Failover, candidates, offering, soonest
from .fallbacks import Fallbacks, told_of
from .interrupt import Interrupt
from .lineup import Lineup
from .open_attempt import OpenAttempt
from .outcome import LEFT, conclude
from .pipeline import Pipeline
from .reckoning import Reckoning


class Request:
    """One request on its way. `record` is filled in as it goes along."""

    account: Account | None = None
    exposes_target = False
    _attempt: OpenAttempt | None = None

    def __init__(
        self,
        pipeline: Pipeline,
        operation: Operation,
        head: Head,
        client_request_id: str,
    ) -> None:
        self.record = pipeline.record(operation, head, client_request_id)
        self.interrupt = Interrupt(pipeline.loop)
        self._operation = operation
        self._pipeline = pipeline
        self._snapshot = pipeline.snapshot

    @property
    def serving(self) -> Candidate | None:
        """The target whose answer is on its way."""
        return None if self._attempt is None else self._attempt.serving

    async def __aenter__(self) -> Self:
        self.interrupt.__enter__()
        self._pipeline.began(self.record, self.interrupt)
        return self

    async def identify(self, head: Head, client: str | None = None) -> Caller:
        """
        Station 2: who asks, from which address.

        Raises:
            GatewayError: nobody who is known, or who may do this from there.
        """
        caller = await self._snapshot.access.caller(head, client)
        record = self.record
        record.tenant, record.key = caller.tenant, caller.key_id
        record.project = caller.project or ""
        return caller

    async def answer(
        self,
        caller: Caller,
        body: dict[str, Any],
        *,
        stream: bool,
        hints: Hints = Hints(),  # noqa: B008 - immutable
    ) -> Answer:
        """
        Stations 3 to 7: an answer with content, from the first target that gives one, of the
        model that was asked for or of one that may stand in for it.

        Raises:
            GatewayError: refused; no counter has changed.
            ProviderError: no target answered, or the one that did refused the request itself.
        """
        self.record.stream = stream
        call = Call(self._operation, body, stream)
        route = self.route(caller, body["model"])
        fallbacks: Fallbacks | None = None
        asker = Asker(self._pipeline, self.record, self.interrupt, hints, route.total)
        failure: NoHealthyUpstream | ProviderError | None = None
        try:
            while True:
                try:
                    return await self._answer_by(route, caller, call, asker)
                except (NoHealthyUpstream, ProviderError) as error:
                    fallbacks = fallbacks or self._fallbacks(route, caller)
                    failure, other = told_of(failure, error), fallbacks.after(error)
                except RequestQuarantined:
                    raise
                except GatewayError as refusal:  # no room for the one that stands in
                    raise failure or refusal from None
                if other is None or asker.is_late:
                    raise failure
                route = other
                self._serve_as(route)
        finally:
            failure = None  # its traceback leads here: no cycle is left to the collector

    def commit_after(self, model: str) -> float | None:
        """Seconds after which a stream of that model begins without content, None for never."""
        route = self._snapshot.routes.find(model)
        return None if route is None else route.settings.commit_after

    def route(self, caller: Caller, model: str) -> Route:
        """
        Where a model leads, which the record then names.

        Raises:
            GatewayError: the caller may not use it, or it does not offer the operation.
        """
        route = self._snapshot.routes.find(model)
        if route is None or not caller.may_use(model):
            raise UnknownModel
        self._serve_as(route)
        if route.candidates and not route.offering(self._operation):
            raise InvalidRequest(f"This model does not offer {self._operation}s.", param="model")
        return route

    def _fallbacks(self, route: Route, caller: Caller) -> Fallbacks:
        return Fallbacks(self._snapshot.routes, route, self._operation, caller.may_use)

    def _serve_as(self, route: Route) -> None:
        self.record.model = route.model
        self.exposes_target = route.exposes_target

    async def _answer_by(self, route: Route, caller: Caller, call: Call, asker: Asker) -> Answer:
        """Stations 3 to 7 with one model."""
        pipeline, snapshot = self._pipeline, self._snapshot
        lineup = Lineup(candidates(pipeline, route, call))
        if lineup.first() is None:
            raise self._nobody(route, call)
        flag = pipeline.quarantine.flag(caller.tenant)
        limits = snapshot.plans.limits_of(caller.levels, route.model)
        reckoning = Reckoning(call, route.settings, limits, snapshot.tariff)
        account = self.account or self._open_account(caller.tenant)
        await account.open(reckoning, limits, lineup)  # one round trip, for the flag too
        call.max_output, call.most = account.lowered_cap, reckoning.most
        failover = Failover(asker, route, call, account)
        if flag is not None:
            await failover.check(flag)
        self._attempt = failover.attempt
        return await failover.first_answer(lineup)

    def _nobody(self, route: Route, call: Call) -> NoHealthyUpstream | ProviderError:
        """Why no target is worth trying: an operator's account is to be mended, or they fail."""
        health = self._pipeline.health
        reasons = {health.reason(name) for name in offering(route, call)}
        if reasons == {ProviderQuotaExhausted.code}:
            return ProviderQuotaExhausted("the account was found empty a short while ago")
        if reasons and "" not in reasons:
            return ProviderAuthFailed("the credential was refused a short while ago")
        return NoHealthyUpstream(
            "No upstream of this model is available.",
            retry_after=soonest(self._pipeline, route, call),
        )

    def _open_account(self, tenant: str) -> Account:
        """Station 4: where what the request may come to is taken from every limit, or nothing."""
        self._pipeline.check_ledger()
        account = Account(self._pipeline.limiter, self.record, tenant, self.interrupt)
        self.account = account
        return account

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended = error
        self.interrupt.disarm()  # settling is not cut short
        try:
            if self._attempt is not None and self._attempt.is_open:
                await self._attempt.release(error)
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

    def _conclude(self, error: BaseException | None) -> None:
        """What it has come to: the record is complete, and health hears of the target."""
        if self.interrupt.error is not None and isinstance(error, asyncio.CancelledError):
            error = self.interrupt.error
        record, attempt, account = self.record, self._attempt, self.account
        has_answer = False
        if attempt is not None and account is not None:
            has_answer = attempt.answer is not None
            if has_answer or self._left_while_asking():
                account.charge()
            attempt.judge(error)
        conclude(record, error, committed=has_answer)
        record.ended = self._pipeline.clock()

    def _left_while_asking(self) -> bool:
        """Whether it was interrupted while an upstream may have had the prompt already."""
        interrupted = self.interrupt.error is not None
        last = self.record.attempts[-1:]
        return interrupted and any(each.error == LEFT and each.sent for each in last)
