"""
Another target goes on with a stream that broke off after its beginning had reached the client.

The attempt that broke off is over: its connection closed, its target's health told, its cost
noted. The next one is an attempt like any other, within the attempts and the time of the request
and the retry budget of its target; it only asks for the rest. Where none of them gives it, the
stream ends with the error that broke it off, as if nobody had been asked.

Hot: never; once a stream that breaks off.
"""

from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Protocol

from ..contract.continuation import Said
from ..contract.errors import GatewayError, ProviderError
from ..pricing import ModelUnpriced
from ..routing import Candidate
from .account import Account
from .asker import Asker
from .attempt import Answer, Streamed
from .call import Call
from .resume import Resumed
from .retries import Retries


class Attempts(Protocol):
    """Where attempts are made, one at a time."""

    async def lose(self, error: BaseException) -> ProviderError:
        """
        The open attempt has ended so: close it. What became of it, by its name.

        Raises:
            CancelledError: that was not the end of the attempt but of the request.
        """
        ...

    def others(self) -> Iterable[Candidate]:
        """The targets to try now that may have no part in what has failed, best first."""
        ...

    def may_retry(self, candidate: Candidate) -> bool:
        """Whether that target has room for a retry; takes it."""
        ...

    def ask(self, candidate: Candidate, call: Call) -> Awaitable[Answer]:
        """One attempt; the one that answers stays open."""
        ...


class Takeover:
    """Of one stream. Called when it breaks off, each time it does."""

    def __init__(
        self, attempts: Attempts, account: Account, retries: Retries, asker: Asker, call: Call
    ) -> None:
        """`call` is what the attempt that began the stream was asked."""
        self._attempts = attempts
        self._account = account
        self._retries = retries
        self._asker = asker
        self._call = call

    async def __call__(self, error: BaseException, said: Said) -> Resumed:
        """
        Whoever goes on from `said`.

        Raises:
            ProviderError: nobody does; what broke it off.
            CancelledError: the request has ended meanwhile.
        """
        lost = await self._attempts.lose(error)
        self._account.keep(said.tokens)
        for candidate in self._attempts.others():
            if not self._retries.has_left or self._asker.now() >= self._asker.ends_at:
                break
            resumed = await self._rest_of(candidate, said)
            if resumed is not None:
                self._account.go_on_from(resumed.continuation.tokens)
                return resumed
        raise lost

    async def _rest_of(self, candidate: Candidate, said: Said) -> Resumed | None:
        asker, call = self._asker, self._call
        cap = call.max_output or candidate.target.max_output
        target = replace(candidate.target, max_output=cap)
        found = candidate.provider.resume(call.operation, call.body, target, said)
        if found is None or not self._attempts.may_retry(candidate):
            return None
        asker.leaves_at = asker.now() + asker.hints.patience  # its silence begins now
        rest = replace(
            call,
            body=dict(found.body),
            most=call.most and max(1, call.most - found.tokens),
        )
        try:
            await self._account.afford(candidate.name)
            answer = await self._attempts.ask(candidate, rest)
        except (GatewayError, ModelUnpriced):
            return None
        except ProviderError as failure:
            if not self._retries.allow_another(candidate.name, failure):
                self._retries.give_up()
            return None
        assert isinstance(answer, Streamed), "a stream was asked for"
        return Resumed(found, answer.held, answer.rest)
