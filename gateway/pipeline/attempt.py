"""
One attempt: a request sent to one target, held until its answer may be committed.

What comes out is an answer that has content: a whole one, read and judged to its end, or a
stream whose first content has arrived. Until then the attempt can fail and another may take
over; leaving the block frees the connection, however it is left.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..contract.errors import ProviderGarbled
from ..contract.provider import Operation, Seen, UpstreamRequest
from ..routing import Candidate, TimeoutSettings
from ..telemetry.record import AttemptRecord
from ..upstream import Deadline, Upstream, UpstreamAnswer
from .events import EventStream, Piece, Tally

MAX_WHOLE = 32 * 1024 * 1024
"""Bytes of a whole answer."""
MAX_ERROR = 64 * 1024
"""Bytes that are read of an upstream's error."""
MAX_HELD = 1024 * 1024
"""Bytes of a stream that are held back before its first content."""
MAX_NOTED = 256
"""Characters of an upstream's header that the record keeps."""


@dataclass(frozen=True, slots=True)
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
    rest: EventStream = field(repr=False)


Answer = Whole | Streamed


class Attempts:
    """
    Sends one call to one candidate after another.

    `ends_at` is the instant, on the loop's clock, when all of them must be over.
    """

    def __init__(
        self, upstream: Upstream, call: Call, timeouts: TimeoutSettings, *, ends_at: float
    ) -> None:
        self._upstream = upstream
        self._call = call
        self._timeouts = timeouts
        self._ends_at = ends_at
        self._now = asyncio.get_running_loop().time

    @asynccontextmanager
    async def attempt(
        self,
        candidate: Candidate,
        record: AttemptRecord,
        tally: Tally,
        headers: tuple[tuple[bytes, bytes], ...],
    ) -> AsyncIterator[Answer]:
        """
        Send, and wait for content.

        Raises:
            ProviderError: here, before any content; or out of the block, when a stream breaks.
            InvalidRequest: the candidate's provider can't express the request.
        """
        call = self._call
        sent = candidate.provider.encode(call.operation, call.body, candidate.target)
        connect = self._timeouts.connect
        async with Deadline() as deadline:
            self._await_content(deadline)
            async with self._upstream.send(
                sent, headers=headers, connect_timeout=connect
            ) as answer:
                record.status = answer.status
                await self._judge(answer, candidate, record)
                held: Answer
                if call.stream:
                    held = await self._streamed(sent, answer, candidate, tally, deadline)
                else:
                    held = await self._whole(sent, answer, candidate, tally)
                deadline.pause()  # from here on it may be the client that is slow
                yield held

    def _await_content(self, deadline: Deadline) -> None:
        patience = self._timeouts.first_content_of(stream=self._call.stream)
        deadline.until(min(self._now() + patience, self._ends_at), "upstream_timeout")

    async def _judge(
        self, answer: UpstreamAnswer, candidate: Candidate, record: AttemptRecord
    ) -> None:
        for name in candidate.provider.recorded_headers:
            if name in answer.headers:
                record.noted[name] = answer.headers[name][:MAX_NOTED]
        if answer.status != 200:
            body = await answer.read(MAX_ERROR)
            raise candidate.provider.error(answer.status, answer.headers, body)
        if self._call.stream and not _is_of_type(answer, "text/event-stream"):
            await self._misplaced_whole(answer, candidate)
        if not self._call.stream and not _is_of_type(answer, "application/json"):
            raise ProviderGarbled("not JSON", code="upstream_unexpected_content_type")

    async def _misplaced_whole(self, answer: UpstreamAnswer, candidate: Candidate) -> NoReturn:
        """A stream was asked for; some upstreams put an error under 200 there instead."""
        call = self._call
        reader = candidate.provider.reader(call.operation, call.body, stream=False)
        if _is_of_type(answer, "application/json"):
            seen = reader.read(await answer.read(MAX_ERROR))
            if seen.error is not None:
                raise seen.error
        raise ProviderGarbled("not an event stream", code="upstream_unexpected_content_type")

    async def _whole(
        self, sent: UpstreamRequest, answer: UpstreamAnswer, candidate: Candidate, tally: Tally
    ) -> Whole:
        call = self._call
        content = await answer.read(MAX_WHOLE)
        reader = candidate.provider.reader(call.operation, call.body, stream=False)
        seen = reader.read(content)
        tally.add(seen)
        if seen.error is not None:
            raise seen.error
        if not reader.complete:
            raise ProviderGarbled("no finish reason", code="upstream_incomplete")
        return Whole(sent, content, seen)

    async def _streamed(
        self,
        sent: UpstreamRequest,
        answer: UpstreamAnswer,
        candidate: Candidate,
        tally: Tally,
        deadline: Deadline,
    ) -> Streamed:
        call = self._call
        reader = candidate.provider.reader(call.operation, call.body, stream=True)
        events = EventStream(answer, reader, tally)
        held = await events.until_content(MAX_HELD)
        stall, ends_at, now = self._timeouts.stall, self._ends_at, self._now

        def waiting() -> None:
            stalled_at = now() + stall
            if stalled_at < ends_at:
                deadline.until(stalled_at, "upstream_stalled")
            else:
                deadline.until(ends_at, "upstream_timeout")

        events.watch(waiting, deadline.pause)
        return Streamed(sent, held, events)


def _is_of_type(answer: UpstreamAnswer, media_type: str) -> bool:
    return answer.headers.get("content-type", "").lower().startswith(media_type)
