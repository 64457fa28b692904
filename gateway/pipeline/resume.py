"""
A stream that goes on elsewhere when it breaks off, so that its client does not notice.

Every event that came whole has reached the client and a partial one never does, so what the
client has is the text of all events so far; what another target says after it is joined to it
without a seam, or the stream ends with the error that broke it. One answer comes out: with one
id, one role, one finish reason and one usage, of the first prompt and of all the text.

Only text goes on. Once an event tells of anything else (a call, a thought, a second choice), or
does not say how many tokens it took to get there, or has the finish reason, the stream is one
like any other.

Hot: `Joined.take` runs once a read of a resumable stream, its loop once an event: one write into
a buffer, and for a client that did not ask for the tokens of every event, one field less in it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from ..contract.continuation import Continuation, Said
from ..contract.errors import ProviderDiverged, ProviderError, Retry
from ..contract.provider import Seen
from .events import Events, Piece
from .mould import Mould

MAX_TEXT: Final = 1024 * 1024
"""Characters of an answer up to which it is kept to go on from."""
MAX_RESUMPTIONS: Final = 2
"""How often one answer goes on elsewhere."""

_OF_TEXT = frozenset({"role", "content"})
_MARKS = ("id", "created", "model", "system_fingerprint")


@dataclass(frozen=True, slots=True)
class Resumed:
    """The rest of an answer: what was held of it until its content came, and the events after."""

    continuation: Continuation
    held: list[Piece] = field(repr=False)
    rest: Events = field(repr=False)


GoOn = Callable[[BaseException, Said], Awaitable[Resumed]]
"""
Given how a stream broke off, and what of it was said, has somebody go on. Raises the error that
ends the stream where nobody does.
"""


class ResumingStream:
    """The events of one answer, whoever gives them, in the batches in which they arrive."""

    def __init__(self, stream: Events, go_on: GoOn, *, tells_tokens: bool) -> None:
        """`tells_tokens`: the client asked for the usage in every event."""
        self._current = stream
        self._go_on = go_on
        self._left = MAX_RESUMPTIONS
        self.joined = Joined(tells_tokens=tells_tokens)

    @property
    def done(self) -> bool:
        """Whether the answer is whole, and all of it handed out."""
        return self._current.done and self.joined.failure is None

    def unwatch(self) -> None:
        """No deadline runs any more, and what breaks off now stays so."""
        self._left = 0
        self._current.unwatch()

    async def next(self, _: Mould | None = None, /) -> list[Piece]:
        """
        The next events, at least one; an empty list once the answer is complete. Each is read: to
        go on from there takes what it said.

        Raises:
            ProviderError: the answer ended otherwise. What came before it was handed out.
        """
        while True:
            if self.joined.failure is not None:
                raise self.joined.failure
            try:
                batch = await self._current.next()
            except (ProviderError, asyncio.CancelledError) as error:
                batch = await self._resume(error)
            taken = self.joined.take(batch)
            if taken or not batch:
                return taken

    async def read_out(self) -> None:
        """Wait for the end of the transfer after the end of the answer."""
        await self._current.read_out()

    async def _resume(self, error: BaseException) -> list[Piece]:
        """The first events of whoever goes on."""
        said = self.joined.said() if self._left else None
        if said is None or (isinstance(error, ProviderError) and error.retry is Retry.FINAL):
            raise error
        self._left -= 1
        resumed = await self._go_on(error, said)
        self._current = resumed.rest
        self.joined.go_on(resumed.continuation)
        return resumed.held


class Joined:
    """What the client gets of the parts of an answer. `failure` is why no more can be joined."""

    __slots__ = (
        "_before",
        "_is_rest",
        "_is_resumable",
        "_is_told_tokens",
        "_marks",
        "_prompt",
        "_repeats",
        "_solid",
        "_tells_tokens",
        "_text",
        "_tokens",
        "failure",
    )

    def __init__(self, *, tells_tokens: bool) -> None:
        self.failure: ProviderError | None = None
        self._tells_tokens = tells_tokens
        self._is_told_tokens = False
        self._is_resumable = True
        self._is_rest = False
        self._text = StringIO()
        self._tokens = self._solid = 0
        self._before = 0
        self._prompt = 0
        self._repeats = ""
        self._marks: dict[str, Any] = {}

    def said(self) -> Said | None:
        """What there is to go on from, None where there is nothing or that can't be exact."""
        if not self._is_resumable or not self._text.tell():
            return None
        return Said(self._text.getvalue(), self._tokens, self._solid)

    def go_on(self, continuation: Continuation) -> None:
        """From now on it is the rest that comes."""
        self._is_rest = True
        self._before = continuation.tokens
        self._repeats = continuation.repeats

    def take(self, pieces: list[Piece]) -> list[Piece]:
        """Those events that the client gets, made to fit where they are a rest's."""
        takes = self._takes_rest if self._is_rest else self._takes
        taken = []
        for piece in pieces:
            payload = piece[1].payload
            if payload is None or takes(payload, piece[1]):
                taken.append(piece)
            if self.failure is not None:
                break
        return taken

    def _takes(self, payload: dict[str, Any], seen: Seen) -> bool:
        if not self._marks:
            self._marks = {name: payload[name] for name in _MARKS if name in payload}
        if choices := payload.get("choices"):
            if self._is_resumable:
                self._note(_text_of(choices), seen)
            self._hide_tokens(payload, seen)
        return True

    def _takes_rest(self, payload: dict[str, Any], seen: Seen) -> bool:
        payload.update(self._marks)
        seen.translated = True
        self._join_usage(payload, seen)
        if choices := payload.get("choices"):
            text = self._fit(choices[0], _text_of(choices), is_end=bool(seen.finish_reasons))
            if text is None or not (text or seen.finish_reasons):
                return False
            if self._is_resumable:
                self._note(text, seen)
            self._hide_tokens(payload, seen)
        return True

    def _note(self, text: str | None, seen: Seen) -> None:
        """Keep what is needed to go on from here."""
        usage = seen.usage
        if text is None or seen.finish_reasons or usage is None:
            self._is_resumable = False
            return
        if not text:  # what a token without text is part of will be made once more
            return
        self._tokens = self._before + usage.completion
        if not self._is_rest:
            self._prompt = usage.prompt
        if not text.isspace():
            self._solid = self._tokens
        self._text.write(text)
        if self._text.tell() > MAX_TEXT:
            self._is_resumable = False
            self._text = StringIO()

    def _fit(self, choice: dict[str, Any], text: str | None, *, is_end: bool) -> str | None:
        """What is new in an event of the rest; written into it."""
        if text is None:
            self.failure = ProviderDiverged("the rest is no text")
            return None
        repeats = self._repeats
        if repeats:
            again = text[: len(repeats)]
            if not repeats.startswith(again) or (is_end and again != repeats):
                self.failure = ProviderDiverged("the rest does not begin where the text ends")
                return None
            self._repeats, text = repeats[len(again) :], text[len(again) :]
        if "delta" in choice:
            choice["delta"] = {"content": text} if text else {}
        else:
            choice["text"] = text
        return text

    def _hide_tokens(self, payload: dict[str, Any], seen: Seen) -> None:
        """The tokens of every event are the gateway's to know, unless the client asked too."""
        if self._tells_tokens or payload.get("usage") is None:
            return
        if not seen.finish_reasons:
            self._is_told_tokens = True
        if self._is_told_tokens:  # else it is the only usage, at the end of the stream
            del payload["usage"]
            seen.translated = True

    def _join_usage(self, payload: dict[str, Any], seen: Seen) -> None:
        """Of the first prompt, and of all the text."""
        if seen.usage is not None:
            completion = self._before + seen.usage.completion
            payload["usage"] = {
                "prompt_tokens": self._prompt,
                "total_tokens": self._prompt + completion,
                "completion_tokens": completion,
            }


def _text_of(choices: list[dict[str, Any]]) -> str | None:
    """The text of an event with one choice that tells of nothing else, else None."""
    choice = choices[0]
    if len(choices) != 1 or choice.get("index", 0) != 0:
        return None
    delta = choice.get("delta")
    if delta is None:
        text = choice.get("text")
    else:
        if any(value and name not in _OF_TEXT for name, value in delta.items()):
            return None
        text = delta.get("content")
    return text if type(text) is str else None if text else ""
