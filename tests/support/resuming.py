"""
Streams that break off and go on, in the words of vLLM: a server that always says the same, others
that go on with what one has begun, and a client that puts together what it gets.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.contract.continuation import Said
from gateway.contract.errors import ProviderError, ProviderFailed
from gateway.contract.provider import Body, Operation, Target
from gateway.inbound.rename import Renamer
from gateway.pipeline.events import EventStream, Tally
from gateway.pipeline.resume import Resumed, ResumingStream
from providers.continuing import continuation
from providers.reader import StreamReader

PROMPT = 7
DONE = b"data: [DONE]\n\n"
CHAT: Body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
TEXT: Body = {"model": "m", "prompt": "Hi", "stream": True}
TARGET = Target("b", "m")


def event(payload: Any) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


@dataclass
class Server:
    """One that always says the same tokens, and tells how many it has said."""

    tokens: Sequence[str]
    operation: Operation = "chat"
    finish: str = "stop"
    number: int = 0
    more: dict[str, Any] = field(default_factory=dict)
    """What stands in each of its events."""

    def rest(self, begun: str) -> list[str]:
        """The tokens after that text."""
        assert "".join(self.tokens).startswith(begun)
        left, at = [], 0
        for token in self.tokens:
            left += [token[max(0, len(begun) - at) :]] if at + len(token) > len(begun) else []
            at += len(token)
        return left

    def stream(self, begun: str = "", *, prompt: int = PROMPT) -> bytes:
        """All events of the answer, or of its rest."""
        left = self.rest(begun)
        said = [self._chunk(text, None, at, prompt) for at, text in enumerate(left, 1)]
        end = self._chunk("", self.finish, len(left), prompt)
        usage = self._payload([], len(left), prompt)
        opening = [self._role(prompt)] if self.operation == "chat" else []
        return b"".join(map(event, [*opening, *said, end, usage])) + DONE

    def _role(self, prompt: int) -> dict[str, Any]:
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return self._payload([choice], 0, prompt)

    def _chunk(self, text: str, finish: str | None, at: int, prompt: int) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if self.operation == "chat":
            choice["delta"] = {"content": text} if text else {}
        else:
            choice["text"] = text
        return self._payload([choice], at, prompt)

    def _payload(self, choices: list[Any], at: int, prompt: int) -> dict[str, Any]:
        usage = {"prompt_tokens": prompt, "completion_tokens": at, "total_tokens": prompt + at}
        marks = {"id": f"answer-{self.number}", "created": self.number, "model": "upstream"}
        return {**marks, **self.more, "choices": choices, "usage": usage}


async def arriving(*steps: bytes | ProviderError) -> AsyncIterator[bytes]:
    for each in steps:
        if isinstance(each, ProviderError):
            raise each
        yield each


def events_of(*steps: bytes | ProviderError) -> EventStream:
    return EventStream(arriving(*steps), StreamReader(lambda _: ProviderFailed("told")), Tally())


class Others:
    """Who goes on: one after the other, each with what it sends for a text that has begun."""

    def __init__(self, body: Body, operation: Operation, *streams: Any) -> None:
        self._body = body
        self._operation = operation
        self._streams = list(streams)
        self.errors: list[BaseException] = []
        self.said: list[Said] = []

    async def __call__(self, error: BaseException, said: Said) -> Resumed:
        self.errors.append(error)
        self.said.append(said)
        found = continuation(self._operation, self._body, TARGET, said)
        if found is None or not self._streams:
            raise error
        if self._operation == "completion":
            begun = found.body["prompt"].removeprefix("Hi")
        elif found.body["messages"] is self._body["messages"]:
            begun = ""
        else:
            begun = found.body["messages"][-1]["content"]
        stream = events_of(*self._streams.pop(0)(begun))
        return Resumed(found, await stream.until_content(1 << 20), stream)


class Client:
    """Reads to the end what a relay makes of a stream."""

    def __init__(self, *, hide_usage: bool = False) -> None:
        self._renamer = Renamer("public", hide_usage=hide_usage)
        self.got: list[Any] = []
        self.is_done = False

    async def read(self, first: EventStream, others: Others, *, tells_tokens: bool = False) -> None:
        stream = ResumingStream(first, others, tells_tokens=tells_tokens)
        batch = stream.joined.take(await first.until_content(1 << 20))
        while True:
            for piece in batch:
                self._take(self._renamer.event(*piece))
            if stream.done:
                break
            batch = await stream.next()
        assert await stream.next() == []

    def _take(self, raw: bytes) -> None:
        for block in raw.split(b"\n\n"):
            if block == b"data: [DONE]":
                self.is_done = True
            elif block:
                self.got.append(orjson.loads(block.removeprefix(b"data: ")))

    @property
    def choices(self) -> list[Any]:
        return [choice for each in self.got for choice in each["choices"]]

    @property
    def text(self) -> str:
        said = [each.get("delta", each) for each in self.choices]
        return "".join(each.get("content") or each.get("text") or "" for each in said)

    def check_it_is_one(self) -> None:
        """One id, one role, one end."""
        for mark in ("id", "created", "model"):
            assert len({each[mark] for each in self.got}) == 1
        assert self.got[0]["model"] == "public"
        roles = [each["delta"]["role"] for each in self.choices if "role" in each.get("delta", {})]
        assert len(roles) <= 1
        reasons = [each["finish_reason"] for each in self.choices if each.get("finish_reason")]
        assert len(reasons) == 1
        assert self.is_done


def after_first_content(stream: bytes) -> int:
    """The bytes that have to arrive before an answer is committed to."""
    at = 0
    for block in stream.split(b"\n\n"):
        at += len(block) + 2
        payload = orjson.loads(block.removeprefix(b"data: "))
        choice = payload["choices"][0]
        said = choice.get("delta", choice)
        if said.get("content") or said.get("text") or choice["finish_reason"]:
            break
    return at
