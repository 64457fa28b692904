"""
One attempt: a request sent to one target, held until its answer may be committed.

What comes out is an answer that has content: a whole one, read and judged to its end, or a
stream whose first content has arrived. Until then the attempt can fail and another may take
over. The connection is free as soon as a whole answer is there; that of a stream when the block is
left, however it is left.

Hot: once an attempt.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from math import inf
from types import TracebackType
from typing import Any, NoReturn

from ..contract.errors import ProviderCutShort, ProviderGarbled, ProviderTimedOut
from ..contract.provider import Operation, Reader, Seen, UpstreamRequest
from ..routing import Candidate
from ..telemetry.record import AttemptRecord
from ..upstream import Deadline, Upstream, UpstreamAnswer
from .events import Events, EventStream, Piece, Tally

MAX_WHOLE = 32 * 1024 * 1024
"""Bytes of a whole answer."""
MAX_ERROR = 64 * 1024
"""Bytes that are read of an upstream's error."""
MAX_HELD = 1024 * 1024
"""Bytes of a stream that are held back before its first content."""
FAIR = 0.9
"""Of its own time, after which a target has had its chance, however soon the client then left."""
_EVENTS, _JSON = "text/event-stream", "application/json"

MAX_NOTED = 256
"""Characters of an upstream's header that the record keeps."""


@dataclass(slots=True)
class Call:
    """What is asked, whichever target answers. `body` is validated and never changed."""

    operation: Operation
    body: dict[str, Any] = field(repr=False)
    stream: bool


@dataclass(slots=True)
class Whole:
    """An answer read to its end."""

    sent: UpstreamRequest
    content: bytes = field(repr=False)
    seen: Seen = field(repr=False)


@dataclass(slots=True)
class Streamed:
    """An answer that has begun: what was held back until its content came, and the rest."""

    sent: UpstreamRequest
    held: list[Piece] = field(repr=False)
    rest: Events = field(repr=False)


Answer = Whole | Streamed


@dataclass(slots=True)
class Terms:
    """
    What all attempts of a request at one model share. `task` is the request's; `now` is its loop's
    clock, of which `ends_at` is; `patience` is seconds of silence, from `began` on, after which the
    client leaves. Not frozen, which would cost each request a microsecond; never changed.

    `max_output` is the cap that is sent where the request names none, None for the model's own;
    `most` is the tokens at which a stream that ignores its cap is cut, 0 for never.
    """

    upstream: Upstream
    task: asyncio.Task[object]
    call: Call
    began: float
    ends_at: float
    now: Callable[[], float]
    patience: float = inf
    max_output: int | None = None
    most: int = 0

    @property
    def content_by(self) -> float:
        """The instant until which any content helps the client."""
        return min(self.ends_at, self.began + self.patience)


class Attempt:
    """
    One call to one candidate: `async with` gives its answer, as soon as that has content.

    Entering raises ProviderError where there is none, InvalidRequest where the candidate's
    provider can't express the request. A stream that breaks, or takes too long, is raised out of
    the block. `record` and `tally` are filled in on the way.
    """

    __slots__ = (
        "_awaited_until",
        "_candidate",
        "_deadline",
        "_ends_at",
        "_headers",
        "_is_cut_short",
        "_record",
        "_sending",
        "_tally",
        "_terms",
        "_timeouts",
    )

    def __init__(
        self,
        terms: Terms,
        candidate: Candidate,
        record: AttemptRecord,
        tally: Tally,
        headers: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        self._terms = terms
        self._candidate = candidate
        self._record = record
        self._tally = tally
        self._headers = headers
        self._timeouts = candidate.streamed if terms.call.stream else candidate.whole
        self._ends_at = min(terms.ends_at, terms.now() + self._timeouts.attempt)
        self._awaited_until = terms.began + terms.patience
        self._is_cut_short = False  # whether the limit that holds now is not the target's own
        self._deadline = Deadline(terms.task)
        self._sending: AbstractAsyncContextManager[UpstreamAnswer] | None = None

    async def __aenter__(self) -> Answer:
        call, candidate = self._terms.call, self._candidate
        target = candidate.target
        if self._terms.max_output is not None:
            target = replace(target, max_output=self._terms.max_output)
        sent = candidate.provider.encode(call.operation, call.body, target)
        try:
            self._await_content()
            answer = await self._send(sent)
            self._note(answer)
            if not _is_expected(answer, stream=call.stream):
                await self._refuse(answer)
            held = await (self._streamed if call.stream else self._whole)(sent, answer)
            self._deadline.pause()  # from here on it may be the client that is slow
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        if not call.stream:
            await self.__aexit__(None, None, None)
        return held

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sending, self._sending = self._sending, None
        try:
            if sending is not None:
                await sending.__aexit__(kind, error, traceback)
        finally:
            self._end(kind, error, traceback)

    def _end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._deadline.__exit__(kind, error, traceback)
        except ProviderTimedOut as late:
            if self._is_cut_short:
                raise ProviderCutShort(late.told, code=late.code) from error
            raise

    @property
    def timed_out(self) -> bool:
        """Whether it is over because it took too long: a cancellation says no more than that."""
        return self._deadline.expired

    def hurry(self, seconds: float) -> None:
        """Nobody waits for it any more: it has so long at most."""
        self._awaited_until = min(self._awaited_until, self._terms.now() + seconds)
        self._await_content()

    def _await_content(self) -> None:
        now = self._terms.now()
        own = min(now + self._timeouts.first_content, self._ends_at)
        self._is_cut_short = self._awaited_until - now < FAIR * (own - now)
        self._deadline.until(min(own, self._awaited_until), "upstream_timeout")

    async def _send(self, sent: UpstreamRequest) -> UpstreamAnswer:
        sending = self._terms.upstream.send(
            sent,
            public=self._candidate.provider.is_public,
            headers=self._headers,
            connect_timeout=self._timeouts.connect,
        )
        try:
            answer = await sending.__aenter__()
        finally:
            self._record.sent = sending.sent
        self._sending = sending
        return answer

    def _note(self, answer: UpstreamAnswer) -> None:
        record = self._record
        record.status = answer.status
        for name in self._candidate.provider.recorded_headers:
            if name in answer.headers:
                record.noted[name] = answer.headers[name][:MAX_NOTED]

    async def _refuse(self, answer: UpstreamAnswer) -> NoReturn:
        """It is an error, or neither a stream nor a whole answer as it was asked for."""
        provider, is_stream = self._candidate.provider, self._terms.call.stream
        if answer.status != 200:
            body = await answer.read(MAX_ERROR)
            raise provider.error(answer.status, answer.headers, body)
        if is_stream and _is_of_type(answer, _JSON):  # some put an error under 200 there
            seen = self._reader(stream=False).read(await answer.read(MAX_ERROR))
            if seen.error is not None:
                raise seen.error
        expected = "an event stream" if is_stream else "JSON"
        raise ProviderGarbled(f"not {expected}", code="upstream_unexpected_content_type")

    async def _whole(self, sent: UpstreamRequest, answer: UpstreamAnswer) -> Answer:
        content = await answer.read(MAX_WHOLE)
        reader = self._reader(stream=False)
        seen = reader.read(content)
        self._tally.add(seen)
        if seen.error is not None:
            raise seen.error
        if not reader.complete:
            raise ProviderGarbled("no finish reason", code="upstream_incomplete")
        self._note_model(seen)
        return Whole(sent, content, seen)

    async def _streamed(self, sent: UpstreamRequest, answer: UpstreamAnswer) -> Answer:
        events = EventStream(answer, self._reader(stream=True), self._tally, self._terms.most)
        held = await events.until_content(MAX_HELD)
        for _, seen in held:
            self._note_model(seen)
        deadline, now = self._deadline, self._terms.now
        stall, ends_at = min(self._timeouts.stall, self._terms.patience), self._ends_at
        is_impatient = stall < FAIR * self._timeouts.stall

        def waiting() -> None:
            stalled_at = now() + stall
            if stalled_at < ends_at:
                self._is_cut_short = is_impatient
                deadline.until(stalled_at, "upstream_stalled")
            else:  # how long an answer is, and how fast it is taken, is the client's to say
                self._is_cut_short = True
                deadline.until(ends_at, "upstream_timeout")

        events.watch(waiting, deadline.pause)
        return Streamed(sent, held, events)

    def _note_model(self, seen: Seen) -> None:
        """Which model the upstream says that it is, if it is another one than it was asked for."""
        record = self._record
        name = seen.payload.get("model") if seen.payload else None
        if name != record.model and isinstance(name, str) and not record.served_model:
            record.served_model = name

    def _reader(self, *, stream: bool) -> Reader:
        call = self._terms.call
        return self._candidate.provider.reader(call.operation, call.body, stream=stream)


def _is_expected(answer: UpstreamAnswer, *, stream: bool) -> bool:
    return answer.status == 200 and _is_of_type(answer, _EVENTS if stream else _JSON)


def _is_of_type(answer: UpstreamAnswer, media_type: str) -> bool:
    return answer.headers.get("content-type", "").lower().startswith(media_type)
