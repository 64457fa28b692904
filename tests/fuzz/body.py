"""
Bodies of requests: JSON of a dialect or a refusal in a few words, and whatever is let in can be
counted, translated for every kind of upstream, and gone on with at another one.
"""

from contextlib import suppress
from typing import Any

import orjson

from gateway.contract.continuation import Said
from gateway.contract.errors import InvalidRequest
from gateway.contract.provider import AnyProvider, Operation, Target
from gateway.inbound.parse import MAX_DEPTH, parse
from gateway.inbound.routes import INFERENCE
from gateway.limits.bound import input_bound
from gateway.limits.estimate import choices, named_cap, prompt_tokens
from providers.huggingface import HuggingFace, HuggingFaceSettings
from providers.openai import OpenAI, OpenAISettings
from providers.vllm import VLLM, VLLMSettings

_KEY = {"api_key": "sk-canary", "drop_params": True}
_URL = "http://127.0.0.1:1"
PROVIDERS: tuple[AnyProvider, ...] = (
    VLLM("v", VLLMSettings(kind="vllm", base_url=_URL, continuous_usage=True)),
    OpenAI("o", OpenAISettings.model_validate({"kind": "openai", **_KEY})),
    HuggingFace("h", HuggingFaceSettings.model_validate({"kind": "huggingface", **_KEY})),
)
TARGET = Target("p", "org/the-model", max_output=100, resumable=True)
MOST = 4096
"""Bytes of the longest message about a fault."""


def _chat(*fields: bytes) -> bytes:
    said = b'{"model":"m","messages":[{"role":"user","content":"hi"}]'
    return b",".join((said, *fields)) + b"}"


SEEDS = (
    _chat(),
    _chat(b'"stream":true', b'"stream_options":{"include_usage":true}', b'"n":2'),
    _chat(b'"guided_json":{}', b'"structured_outputs":"x"'),
    _chat(b'"min_tokens":"7"'),
    _chat(b'"tools":[{"type":"function","function":{"name":"f","parameters":{"a":[1]}}}]'),
    _chat(b'"max_tokens":9223372036854775808', b'"seed":-1', b'"logit_bias":{"1":1e308}'),
    _chat(b'"continue_final_message":true', b'"add_generation_prompt":false', b'"top_k":[]'),
    _chat(b'"response_format":{"type":"json_schema","json_schema":{}}', b'"stop":["a","b"]'),
    b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":"u"}]}]}',
    b'{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"a"}]}]}',
    b'{"model":"m","prompt":"a lock","max_tokens":0,"best_of":3,"suffix":"b"}',
    b'{"model":"m","prompt":[[1,2],[3]],"stream":true}',
    b'{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":3}',
    b'{"model":"m","input":[1,2],"stream_options":5,"truncate":{}}',
    b'{"model":"m","model":"n","input":"a"}',
    b'{"model":"\\u202e\\u0000\\r\\nx: y","input":"a"}',
    b'{"model":"../../v1/files","input":"%2e%2e/"}',
    b"[" * 200 + b"]" * 200,
    _chat(b'"x":' + b'{"a":[' * 20 + b"]}" * 20),
    _chat(b'"x":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)),
    _chat(b'"x":[' + b"{}," * 99 + b"{}]"),
    _chat(b'"x":' + b"1" * 500),
    _chat(b'"x":NaN'),
    _chat(b'"x":-Infinity'),
    _chat(b'"x":1e400'),
    _chat(b'"x":"\\ud800"'),
    _chat(b'"x":"\xff\xfe"'),
    b"\xef\xbb\xbf" + _chat(),
    _chat().decode().encode("utf-16"),
    _chat() + b"x",
    b"null",
    b"",
)


def fuzz_body(data: bytes) -> None:
    """A refusal names a place and a kind of fault; what is let in breaks nothing further on."""
    for route in INFERENCE:
        try:
            body = parse(data, route.request)
        except InvalidRequest as error:
            _check_refusal(error)
            continue
        assert _depth(body) <= MAX_DEPTH
        _count(route.operation, body)
        for provider in PROVIDERS:
            if route.operation in provider.operations:
                _send(provider, route.operation, body)


def _check_refusal(error: InvalidRequest) -> None:
    told = f"{error.message}{error.param}{error.code}"
    assert error.status == 400
    assert len(told) <= MOST
    assert orjson.loads(orjson.dumps([error.message, error.param, error.code]))


def _depth(value: Any) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0) if isinstance(inner, list) else 0


def _count(operation: Operation, body: dict[str, Any]) -> None:
    assert prompt_tokens(operation, body) >= 1
    assert named_cap(operation, body) >= 0
    assert choices(operation, body) >= 0
    with suppress(InvalidRequest):
        assert input_bound(operation, body) >= 1


def _send(provider: AnyProvider, operation: Operation, body: dict[str, Any]) -> None:
    """What goes out is JSON with the target's model in it, to one of the provider's addresses."""
    as_it_came = orjson.dumps(body)
    try:
        sent = provider.encode(operation, body, TARGET)
        provider.reader(operation, body, stream=bool(body.get("stream")))
    except InvalidRequest as error:
        _check_refusal(error)
    else:
        out = orjson.loads(sent.content)
        assert out.get("model", TARGET.model) == TARGET.model
        assert sent.url.startswith(provider.settings.base_url + "/")
        assert set(sent.url) <= _IN_URLS
        for name, value in sent.headers:
            assert not {*b"\r\n\0"} & {*name, *value}
    rest = provider.resume(operation, body, TARGET, Said("It is a ", 4, 3))
    if rest is not None:
        provider.encode(operation, rest.body, TARGET)
    assert orjson.dumps(body) == as_it_came, "a body was changed"


_IN_URLS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.:/-")
