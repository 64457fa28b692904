"""
One attempt: a request sent to one target, held until its answer may be committed.

What comes out is an answer that has content: a whole one, read and judged to its end, or a
stream whose first content has arrived. Until then the attempt can fail and another may take
over. The connection is free as soon as a whole answer is there; that of a stream when the block is
left, however it is left.

Hot: once an attempt.
"""

from dataclasses import dataclass, field, replace
from typing import NoReturn

from ..contract.errors import ProviderCutShort, ProviderGarbled, ProviderTimedOut
from ..contract.provider import Reader, Seen, UpstreamRequest
from ..routing import Candidate
from ..telemetry.record import AttemptRecord
from ..upstream import Deadline, Sending, UpstreamAnswer
from .asker import Asker
from .call import Call
from .events import Events, EventStream, Piece, Tally

MAX_WHOLE = 32 * 1024 * 1024
"""Bytes of a whole answer."""
MAX_ERROR = 64 * 1024
"""Bytes that are read of an upstream's error."""
MAX_HELD = 1024 * 1024
"""Bytes of a stream that are held back before its first content."""
FAIR = 0.9
"""Of its own time, after which a target has had its chance, however soon the client then left."""
_EVENTS, _JSON = b"text/event-stream", b"application/json"

MAX_NOTED = 256
"""Characters of an upstream's header that the record keeps."""


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


class Attempt:
    """
    One call to one candidate: `answer` once, and `close` in the end unless that has raised.

    `record` and `tally` are filled in on the way. A stream that takes too long ends in a
    cancellation, of which `timed_out` says that and `close` the name.
    """

    __slots__ = (
        "_asker",
        "_awaited_until",
        "_call",
        "_candidate",
        "_deadline",
        "_ends_at",
        "_is_cut_short",
        "_record",
        "_sending",
        "_tally",
        "_timeouts",
    )

    def __init__(
        self, asker: Asker, call: Call, candidate: Candidate, record: AttemptRecord, tally: Tally
    ) -> None:
        self._asker = asker
        self._call = call
        self._candidate = candidate
        self._record = record
        self._tally = tally
        self._timeouts = candidate.streamed if call.stream else candidate.whole
        self._deadline = Deadline(asker.interrupt.task, asker.pipeline.upstream.watch)
        self._sending: Sending | None = None

    async def answer(self, headers: tuple[tuple[bytes, bytes], ...]) -> Answer:
        """
        What the candidate answers, as soon as that has content. A whole answer is the end of it.

        Raises:
            ProviderError: there is none.
            InvalidRequest: the candidate's provider can't express the request.
        """
        asker, call, timeouts = self._asker, self._call, self._timeouts
        candidate, record = self._candidate, self._record
        provider, target = candidate.provider, candidate.target
        if call.max_output is not None:
            target = replace(target, max_output=call.max_output)
        sent = provider.encode(call.operation, call.body, target)
        now = asker.now()
        self._ends_at = min(asker.ends_at, now + timeouts.attempt)
        self._awaited_until = asker.leaves_at
        try:
            self._await_content(now)
            self._sending = sending = asker.pipeline.upstream.send(
                sent,
                public=provider.is_public,
                headers=headers,
                connect_timeout=timeouts.connect,
            )
            answer = await sending.__aenter__()
            record.status = answer.status
            if provider.recorded_headers:
                self._note(answer, provider.recorded_headers)
            if answer.status != 200 or not answer.is_of_type(_EVENTS if call.stream else _JSON):
                await self._refuse(answer)
            if call.stream:
                return await self._streamed(sent, answer)
            whole = self._whole(sent, await answer.read(MAX_WHOLE))
            self._deadline.pause()
        except BaseException as error:
            await self.close(error)
            raise
        await self.close(None)
        return whole

    async def close(self, error: BaseException | None) -> None:
        """
        Free its connection. `error` is what ended it, None for nothing.

        Raises:
            ProviderError: it took too long, and that is what ended it.
        """
        kind, traceback = None, None
        if error is not None:
            kind, traceback = type(error), error.__traceback__
        sending, self._sending = self._sending, None
        try:
            if sending is not None:
                self._record.sent = sending.sent
                await sending.__aexit__(kind, error, traceback)
        finally:
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
        now = self._asker.now()
        self._awaited_until = min(self._awaited_until, now + seconds)
        self._await_content(now)

    def _await_content(self, now: float) -> None:
        awaited_until = self._awaited_until
        own = min(now + self._timeouts.first_content, self._ends_at)
        # Whether the limit that holds now is not the target's own.
        self._is_cut_short = awaited_until - now < FAIR * (own - now)
        self._deadline.until(min(own, awaited_until), "upstream_timeout")

    def _note(self, answer: UpstreamAnswer, names: tuple[str, ...]) -> None:
        for name in names:
            if name in answer.headers:
                self._record.noted[name] = answer.headers[name][:MAX_NOTED]

    async def _refuse(self, answer: UpstreamAnswer) -> NoReturn:
        """It is an error, or neither a stream nor a whole answer as it was asked for."""
        provider, is_stream = self._candidate.provider, self._call.stream
        if answer.status != 200:
            body = await answer.read(MAX_ERROR)
            raise provider.error(answer.status, answer.headers, body)
        if is_stream and answer.is_of_type(_JSON):  # some put an error under 200 there
            seen = self._reader(stream=False).read(await answer.read(MAX_ERROR))
            if seen.error is not None:
                raise seen.error
        expected = "an event stream" if is_stream else "JSON"
        raise ProviderGarbled(f"not {expected}", code="upstream_unexpected_content_type")

    def _whole(self, sent: UpstreamRequest, content: bytes) -> Whole:
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
        events = EventStream(answer, self._reader(stream=True), self._tally, self._call.most)
        held = await events.until_content(MAX_HELD)
        for _, seen in held:
            self._note_model(seen)
        deadline, now = self._deadline, self._asker.now
        stall, ends_at = min(self._timeouts.stall, self._asker.hints.patience), self._ends_at
        self._is_cut_short = stall < FAIR * self._timeouts.stall

        def waiting() -> None:
            stalled_at = now() + stall
            if stalled_at < ends_at:
                deadline.until(stalled_at, "upstream_stalled")
            else:  # how long an answer is, and how fast it is taken, is the client's to say
                self._is_cut_short = True
                deadline.until(ends_at, "upstream_timeout")

        events.watch(waiting, deadline.pause)
        deadline.pause()  # from here on it may be the client that is slow
        return Streamed(sent, held, events)

    def _note_model(self, seen: Seen) -> None:
        """Which model the upstream says that it is, if it is another one than it was asked for."""
        record = self._record
        name = seen.payload.get("model") if seen.payload else None
        if name != record.model and isinstance(name, str) and not record.served_model:
            record.served_model = name

    def _reader(self, *, stream: bool) -> Reader:
        call = self._call
        return self._candidate.provider.reader(call.operation, call.body, stream=stream)
