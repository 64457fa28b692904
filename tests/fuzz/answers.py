"""
Answers of upstreams in the OpenAI dialect, as events or whole: they are read without an error of
our own, and what clients get of them has the public model's name and is as much as came.

An input is one event's data a line.
"""

from typing import Any

import orjson

from gateway.contract.errors import ProviderError
from gateway.contract.provider import Seen
from gateway.contract.sse import Event, SSEDecoder
from gateway.inbound.errors import error_event
from gateway.inbound.rename import Renamer, renamed_whole
from providers.huggingface import VectorReader
from providers.reader import MAX_TOKENS, EmbeddingReader, StreamReader, WholeReader
from providers.refusal import MAX_TOLD, MAX_WORD, Refusals

SECRETS = ("sk-canary-of-an-upstream", "http://10.1.2.3:8000", "10.1.2.3:8000")
PUBLIC = 'the "public" näme'
_BEGIN, _END = b"data: ", b"\n\n"
_REFUSALS = Refusals(SECRETS)


def _choice(delta: bytes, finish: bytes = b"null") -> bytes:
    choice = b'{"index":0,"delta":%b,"finish_reason":%b}' % (delta, finish)
    return b'{"id":"a","model":"upstream/m","choices":[%b]}' % choice


SEEDS = (
    _choice(b'{"role":"assistant","content":""}') + b"\n" + _choice(b'{"content":"hi"}', b'"stop"'),
    _choice(b'{"content":"a"}') + b"\n" + _choice(b'{"content":"bc"}'),
    b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n[DONE]',
    b'{"model":"a","usage":null,"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}',
    _choice(b'{"content":"x"}', b'"abort"'),
    b'{"choices":[{"index":true,"text":"a"}]}\n{"choices":{}}\n{"choices":[1]}',
    b'{"model": "a\\"b\\u0000", "choices":[{"delta":{"content":"\\r\\n\\n"}}]}',
    b'{"x":{"model":"inner"},"model":"outer","choices":[]}',
    b'{"usage":{"prompt_tokens":-1,"completion_tokens":1e12,"total_tokens":true}}',
    b'{"usage":{"prompt_tokens":2147483648,"completion_tokens":0,"prompt_tokens_details":[]}}',
    b'{"usage":{"prompt_tokens":5,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":9}}}',
    b'{"error":{"message":"no","type":"overloaded_error","code":529}}',
    b'{"error":"sk-canary-of-an-upstream at http://10.1.2.3:8000/v1"}',
    b'{"error":{"message":' + b"[" * 300 + b"]" * 300 + b"}}",
    b'{"error":' * 900 + b'"deep"' + b"}" * 900,
    b'{"object":"error","message":{"a":1},"code":[2],"param":null}',
    b'{"choices":[{"message":{"content":'
    + b"[" * 300
    + b"]" * 300
    + b'},"finish_reason":"stop"}]}',
    b'{"model":"a","x":1,"model":"b","choices":[]}',
    b'{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}],"model":"m"}',
    b'{"data":[{"embedding":[0.5,1e39]},{"embedding":"AAAA"}]}',
    b'{"data":[{"embedding":[1,"a",null]}]}\n[[1.5,2],[3,4]]',
    b'not JSON\n\xff\xfe\nnull\n[]\n"x"\n1e400',
)


def fuzz_answer(data: bytes) -> None:
    """Readers say what they saw and never raise; what is passed on is one event each."""
    reader = StreamReader(_REFUSALS.of_event)
    renamer = Renamer(PUBLIC, hide_usage=len(data) % 2 == 0)
    for line in data.split(b"\n"):
        seen = reader.read(line)
        _check(seen)
        if seen.error is None and seen.payload is not None and b"\r" not in line:
            _pass_on(renamer, Event(_BEGIN + line + _END, line), seen)
    for whole in _whole_readers():
        seen = whole.read(data)
        _check(seen)
        if seen.error is None:
            _pass_on_whole(data, seen)


def _whole_readers() -> tuple[Any, ...]:
    named = _REFUSALS.of_event
    return (
        WholeReader(named),
        EmbeddingReader(named, as_base64=False),
        EmbeddingReader(named, as_base64=True),
        VectorReader(named, {"model": "m", "input": ["a", "b"], "encoding_format": "base64"}),
    )


def _check(seen: Seen) -> None:
    if seen.error is not None:
        check_error(seen.error)
    if (usage := seen.usage) is not None:
        assert 0 <= usage.prompt <= MAX_TOKENS
        assert 0 <= usage.completion <= MAX_TOKENS
        assert 0 <= usage.reasoning <= usage.completion
        assert 0 <= max(usage.cached, usage.cache_written, usage.audio_prompt) <= usage.prompt
    assert seen.pieces >= 0
    assert all(isinstance(reason, str) for reason in seen.finish_reasons)


def check_error(error: ProviderError) -> None:
    """Its words are few, hold nothing of ours, and make one event."""
    assert len(error.message.encode()) <= MAX_TOLD
    for word in (error.code, error.type):
        assert word is None or len(word.encode()) <= MAX_WORD
    assert error.param is None or len(error.param.encode()) <= 2 * MAX_WORD
    told = error_event(error)
    assert not any(secret.encode() in told for secret in SECRETS)
    [event] = SSEDecoder().feed(told)
    assert event.data is not None
    assert orjson.loads(event.data)["error"]["message"] == error.message


def _pass_on(renamer: Renamer, event: Event, seen: Seen) -> None:
    before = orjson.loads(event.data or b"")
    try:
        told = renamer.event(event.raw, seen)
    except ProviderError as error:
        check_error(error)
        return
    if not told:
        assert "usage" in before
        assert not before.get("choices")
        return
    [out] = SSEDecoder().feed(told)
    assert out.data is not None
    after = orjson.loads(out.data)
    mould = renamer.mould
    if mould is not None and mould.fits(event.raw):
        assert seen.plain, "other than what it fits"
        assert orjson.loads(mould.cast(event.raw)[len(_BEGIN) :]) == after
    if "usage" not in after:
        before.pop("usage", None)
    _check_same(event.raw, before, after)


def _pass_on_whole(data: bytes, seen: Seen) -> None:
    before = orjson.loads(data)
    try:
        after = orjson.loads(renamed_whole(data, seen, PUBLIC))
    except ProviderError as error:
        check_error(error)
        return
    if not seen.translated:
        _check_same(data, before, after)


def _check_same(data: bytes, before: dict[str, Any], after: dict[str, Any]) -> None:
    """All but the model's name. Of two names in one object nobody knows which one will be read."""
    if data.count(b'"model"') > 1:
        before.pop("model", None)
        after.pop("model", None)
    elif "model" in before:
        before["model"] = PUBLIC
    assert after == before
