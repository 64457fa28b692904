"""
The suite that every provider passes, ours and a stranger's: subclass it and fill in the fields.

    class TestAcme(ProviderSuite):
        provider = Acme("acme", AcmeSettings(kind="acme", api_key="acme-secret-key", ...))
        exchanges = (Exchange("chat", recorded_stream, stream=True, text="Hello",
                              finish=("stop",), usage=Usage(3, 2)),)

It needs nothing but the contract and a test runner that collects classes: its randomness is
seeded, so that a failure comes again.
"""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Final, get_args

from .errors import InvalidRequest, ProviderError, Retry
from .provider import AnyProvider, Body, Operation, Seen, Target, Usage
from .sse import SSEDecoder

CUTS: Final = 60
"""Random cuttings of each recorded stream, besides one byte at a time."""
GARBAGE: Final = 300
"""Made-up answers that each reader is fed."""

BODIES: Final[dict[Operation, Body]] = {
    "chat": {"model": "public", "messages": [{"role": "user", "content": "Hello"}]},
    "completion": {"model": "public", "prompt": "Hello"},
    "embedding": {"model": "public", "input": "Hello"},
}
"""The least request of each operation."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    An answer as it was recorded, and what it means.

    `answer` is a whole body, or all of a stream. `text` is what its choices say one after the
    other. `usage` is the last that it reports.
    """

    operation: Operation
    answer: bytes
    stream: bool = False
    text: str = ""
    finish: tuple[str, ...] = ()
    usage: Usage | None = None
    body: Body = field(default_factory=dict)
    """What the request held besides its least."""

    @property
    def request(self) -> Body:
        """The request that was answered."""
        stream = {"stream": True} if self.stream else {}
        return {**BODIES[self.operation], **stream, **self.body}


class ProviderSuite:
    """
    What holds for every provider. `provider` has a credential of eight characters or more if it
    takes one, and `model` is a name that it would send upstream.
    """

    provider: ClassVar[AnyProvider]
    exchanges: ClassVar[tuple[Exchange, ...]]
    model: ClassVar[str] = "org/upstream-model"

    def test_the_recordings_cover_every_operation(self) -> None:
        assert {each.operation for each in self.exchanges} == self.provider.operations
        assert self.provider.operations <= set(get_args(Operation))

    def test_a_recording_means_what_it_says(self) -> None:
        for each in self.exchanges:
            assert meaning(self.provider, each, [each.answer]) == expected(each)

    def test_a_stream_cut_anywhere_means_the_same(self) -> None:
        for each in self.exchanges:
            if each.stream:
                for chunks in cuttings(each.answer):
                    assert meaning(self.provider, each, chunks) == expected(each)

    def test_an_answer_that_breaks_off_is_not_complete(self) -> None:
        for each in self.exchanges:
            reader = self.provider.reader(each.operation, each.request, stream=each.stream)
            assert not reader.complete
            if not each.stream:
                assert reader.read(each.answer[: len(each.answer) // 2]).error is not None
                assert not reader.complete

    def test_garbage_is_an_error_or_silence_and_is_never_raised(self) -> None:
        for each in self.exchanges:
            for data in garbage(each.answer):
                seen = self.provider.reader(each.operation, each.request, stream=each.stream).read(
                    data
                )
                assert isinstance(seen, Seen)
                assert seen.error is None or isinstance(seen.error, ProviderError)
                if not _is_json(data):
                    assert seen.done or seen.error is not None

    def test_every_status_is_named_and_none_is_the_clients_key(self) -> None:
        for status in range(100, 600):
            for headers, body in refusals(self._secret):
                error = self.provider.error(status, headers, body)
                assert isinstance(error, ProviderError)
                assert error.status not in {401, 403}
                assert error.retry_after is None or 0 <= error.retry_after <= 60
                assert len(error.told) <= 4096
                if error.retry is Retry.FINAL:
                    assert 400 <= status <= 499, "only the request's own fault is final"

    def test_the_credential_shows_nowhere_but_in_a_header(self) -> None:
        secret = self._secret
        for each in self.exchanges:
            sent = self.provider.encode(each.operation, each.request, self._target)
            assert not secret or secret not in sent.url + repr(self.provider.settings)
            assert not secret or secret.encode() not in sent.content
        for status in (400, 401, 403, 422, 429, 500):
            for headers, body in refusals(secret):
                error = self.provider.error(status, headers, body)
                shown = f"{error} {error.message} {error.told} {error.code} {error.param}"
                assert not secret or secret not in shown

    def test_encoding_is_pure(self) -> None:
        for each in self.exchanges:
            body = copy.deepcopy(dict(each.request))
            first = self.provider.encode(each.operation, body, self._target)
            assert body == each.request
            assert self.provider.encode(each.operation, body, self._target) == first

    def test_the_upstream_is_asked_for_its_own_model(self) -> None:
        for each in self.exchanges:
            sent = self.provider.encode(each.operation, each.request, self._target)
            assert self.model in sent.url or self.model in _strings(json.loads(sent.content))
            assert "public" not in _strings(json.loads(sent.content))
            assert sent.url.startswith(self.provider.settings.base_url)

    def test_headers_are_fit_for_the_wire(self) -> None:
        for each in self.exchanges:
            sent = self.provider.encode(each.operation, each.request, self._target)
            for name, value in sent.headers:
                assert name == name.lower()
                assert not set(name + value) & set(b"\r\n\0")

    def test_unknown_fields_go_on_or_are_announced_or_refused(self) -> None:
        for each in self.exchanges:
            body = {**each.request, "x_unheard_of": "s0me-value"}
            try:
                sent = self.provider.encode(each.operation, body, self._target)
            except InvalidRequest:
                continue
            assert b"s0me-value" in sent.content or "x_unheard_of" in sent.dropped

    @property
    def _target(self) -> Target:
        return Target(self.provider.name, self.model, max_output=64)

    @property
    def _secret(self) -> str:
        secret: str = self.provider.settings.api_key.get_secret_value()
        return secret


def expected(exchange: Exchange) -> tuple[str, tuple[str, ...], Usage | None, bool]:
    """What `meaning` gives for it."""
    return exchange.text, exchange.finish, exchange.usage, True


def meaning(
    provider: AnyProvider, exchange: Exchange, chunks: list[bytes]
) -> tuple[str, tuple[str, ...], Usage | None, bool]:
    """
    Text, finish reasons, last usage and completeness of an answer.

    Raises:
        ProviderError: the answer holds an error.
    """
    reader = provider.reader(exchange.operation, exchange.request, stream=exchange.stream)
    text, usage = "", None
    finish: tuple[str, ...] = ()
    for data in _data(exchange, chunks):
        seen = reader.read(data)
        if seen.error is not None:
            raise seen.error
        text += said(seen.payload or {})
        finish += seen.finish_reasons
        usage = seen.usage or usage
    return text, finish, usage, reader.complete


def said(payload: dict[str, Any]) -> str:
    """The text of a chunk's or an answer's choices."""
    texts = []
    for choice in payload.get("choices") or []:
        message = choice.get("delta") or choice.get("message") or {}
        texts.append(message.get("content") or choice.get("text") or "")
    return "".join(texts)


def cuttings(stream: bytes) -> Iterator[list[bytes]]:
    """The same bytes, cut in many ways; one byte at a time first."""
    yield [stream[at : at + 1] for at in range(len(stream))]
    chance = random.Random(len(stream))  # noqa: S311 - not for secrets
    for _ in range(CUTS):
        at = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(1, 12)))
        ends = [0, *at, len(stream)]
        yield [stream[a:b] for a, b in pairwise(ends)]


def garbage(answer: bytes) -> Iterator[bytes]:
    """Wrong types where the dialect has others, and a good answer with bytes exchanged."""
    values = ("null", "5", '"a"', "[]", "[5]", "[null]", "{}", "true", "1e400", '"\\ud800"')
    fields = ("choices", "data", "usage", "error", "object", "index", "delta", "finish_reason")
    yield from (b"", b"\xff\xfe", b"[DONE", b"{", b"[" * 100_000, b"nan", b"<html></html>")
    yield from (value.encode() for value in values)
    for name in fields:
        for value in values:
            yield f'{{"{name}": {value}}}'.encode()
            yield f'{{"choices": [{{"index": 0, "{name}": {value}}}]}}'.encode()
            yield f'{{"data": [{{"{name}": {value}, "embedding": {value}}}]}}'.encode()
    chance = random.Random(len(answer))  # noqa: S311 - not for secrets
    for _ in range(GARBAGE):
        spoiled = bytearray(answer)
        for _ in range(chance.randrange(1, 4)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        yield bytes(spoiled)


def refusals(secret: str) -> Iterator[tuple[dict[str, str], bytes]]:
    """Headers and bodies that a refusal may come with; each body tells the `secret`."""
    waits = ("7", "-1", "1e9", "nan", "Mon, 04 May 2020 12:00:09 GMT", "6m0s", "\x00", "")
    bodies = (
        json.dumps({"error": {"message": f"bad key {secret}", "code": 400, "param": secret}}),
        json.dumps({"error": {"message": 5, "type": None, "code": {"a": secret}}}),
        json.dumps({"error": {"type": "insufficient_quota", "message": secret}}),
        json.dumps({"error": f"no {secret}"}),
        json.dumps({"object": "error", "message": secret * 500}),
        json.dumps({"detail": [{"msg": secret}]}),
        f"<html>{secret}</html>",
        json.dumps([secret]),
    )
    for wait, body in zip(waits, bodies, strict=True):
        yield {"retry-after": wait, "x-ratelimit-reset-tokens": wait}, body.encode()
    yield {}, b""
    yield {}, b"\xff" * 5000


def _data(exchange: Exchange, chunks: list[bytes]) -> Iterator[bytes]:
    if not exchange.stream:
        yield b"".join(chunks)
        return
    decoder = SSEDecoder()
    for chunk in chunks:
        for event in decoder.feed(chunk):
            if event.data is not None:
                yield event.data


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _strings(value: Any) -> set[str]:
    match value:
        case str():
            return {value}
        case dict():
            return set().union(*map(_strings, value.values()))
        case list():
            return set().union(*map(_strings, value))
        case _:
            return set()
