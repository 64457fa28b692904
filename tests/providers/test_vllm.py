"""vLLM: its own fields, its aborts, its errors."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.contract.conformance import Exchange, ProviderSuite
from gateway.contract.continuation import Said
from gateway.contract.errors import ProviderFailed, ProviderRejected
from gateway.contract.provider import Body, Target, Usage
from providers.vllm import VLLM, VLLMSettings

CHAT: Body = {"model": "chat-small", "messages": [{"role": "user", "content": "Hello"}]}
TARGET = Target("vllm-a", "demo-model", max_output=64)
USAGE = '"usage":{"prompt_tokens":5,"total_tokens":7,"completion_tokens":2}'
STREAM = (
    'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    '{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
    'data: {"id":"c","choices":[{"index":0,"delta":{"reasoning":"hm"}}]}\n\n'
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop",'
    '"stop_reason":null}]}\n\n'
    f'data: {{"id":"c","choices":[],{USAGE}}}\n\n'
    "data: [DONE]\n\n"
).encode()
TEXT_STREAM = (
    'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":" a",'
    '"finish_reason":null}]}\n\n'
    'data: {"id":"c","choices":[{"index":0,"text":" gate","finish_reason":"length"}],'
    f"{USAGE}}}\n\n"
).encode()
EMBEDDING = f'{{"data":[{{"index":0,"embedding":"AAAAPw=="}}],{USAGE}}}'.encode()


def vllm(**fields: Any) -> VLLM:
    given = {"kind": "vllm", "base_url": "http://127.0.0.1:9101", **fields}
    return VLLM("vllm-a", VLLMSettings.model_validate(given))


class TestVLLM(ProviderSuite):
    provider = vllm(api_key="vllm-secret")
    exchanges = (
        Exchange("chat", STREAM, stream=True, text="Hi", finish=("stop",), usage=Usage(5, 2)),
        Exchange(
            "completion",
            TEXT_STREAM,
            stream=True,
            text=" a gate",
            finish=("length",),
            usage=Usage(5, 2),
        ),
        Exchange("embedding", EMBEDDING, usage=Usage(5, 2), body={"encoding_format": "base64"}),
    )


def sent(provider: VLLM, **fields: Any) -> Any:
    return json.loads(provider.encode("chat", {**CHAT, **fields}, TARGET).content)


def test_it_needs_an_address_and_no_credential() -> None:
    assert vllm().is_active
    assert vllm().encode("chat", CHAT, TARGET).headers == ((b"content-type", b"application/json"),)
    with pytest.raises(ValidationError):
        VLLMSettings.model_validate({"kind": "vllm"})


def test_what_it_costs_only_its_operator_knows() -> None:
    assert vllm().price_list("gpt-4o") is None


def test_its_own_fields_pass() -> None:
    extra = {"top_k": 5, "min_p": 0.1, "priority": 1, "chat_template_kwargs": {"a": 1}, "typo": 1}

    request = vllm().encode("chat", {**CHAT, **extra}, TARGET)

    assert json.loads(request.content).items() >= extra.items()
    assert request.dropped == ()


@pytest.mark.parametrize("name", ["json", "regex", "choice", "grammar"])
def test_guided_decoding_is_sent_under_its_new_name(name: str) -> None:
    written = sent(vllm(), **{f"guided_{name}": "x"})

    assert written["structured_outputs"] == {name: "x"}
    assert f"guided_{name}" not in written


def test_structured_outputs_that_the_client_wrote_win() -> None:
    given = {"json": {"type": "object"}}
    written = sent(vllm(), guided_json={}, guided_regex=None, structured_outputs=given)

    assert written["structured_outputs"] == given
    assert "structured_outputs" not in sent(vllm(), guided_regex=None)


@pytest.mark.parametrize("given", ["x", 1, [{}], True])
def test_structured_outputs_that_make_no_sense_are_the_servers_to_refuse(given: Any) -> None:
    assert sent(vllm(), guided_json={}, structured_outputs=given)["structured_outputs"] == given


def test_the_cap_is_sent_as_max_tokens() -> None:
    assert sent(vllm())["max_tokens"] == 64
    assert sent(vllm(), max_completion_tokens=9)["max_tokens"] == 9


def test_continuous_usage_is_asked_for_where_it_is_set() -> None:
    provider = vllm(continuous_usage=True)

    assert sent(provider, stream=True)["stream_options"] == {
        "include_usage": True,
        "continuous_usage_stats": True,
    }
    assert "stream_options" not in sent(provider)
    assert sent(vllm(), stream=True)["stream_options"] == {"include_usage": True}


def test_an_aborted_stream_is_a_failure_and_no_answer() -> None:
    reader = vllm().reader("chat", CHAT, stream=True)

    seen = reader.read(b'{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}')

    assert isinstance(seen.error, ProviderFailed)
    assert seen.error.code == "upstream_aborted"
    assert not seen.content
    assert not reader.complete


def test_a_prompt_that_is_too_long_is_told_as_openai_does() -> None:
    body = {
        "error": {
            "message": "This model's maximum context length is 4096 tokens. However, you "
            "requested 5000 tokens in the messages, Please reduce the length.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    }
    error = vllm().error(400, {}, json.dumps(body).encode())

    assert isinstance(error, ProviderRejected)
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert "4096" in error.message


def test_its_health_has_an_address() -> None:
    assert VLLM.health_path == "/health"


def test_a_resumable_stream_tells_its_tokens_as_it_goes() -> None:
    target = Target("vllm-a", "demo-model", resumable=True)

    def options(provider: VLLM, **fields: Any) -> Any:
        sent = provider.encode("chat", {**CHAT, **fields}, target)
        return json.loads(sent.content).get("stream_options")

    both = {"include_usage": True, "continuous_usage_stats": True}
    assert options(vllm(), stream=True) == both
    assert options(vllm(), stream=True, stream_options={"include_usage": True}) == both
    assert options(vllm()) is None
    assert options(vllm(stream_usage=False), stream=True) is None


def test_it_goes_on_with_what_another_one_began() -> None:
    found = vllm().resume("chat", CHAT, TARGET, Said("Good", tokens=1, solid_tokens=1))

    assert found is not None
    written = json.loads(vllm().encode("chat", found.body, TARGET).content)
    assert written["messages"][-1] == {"role": "assistant", "content": "Good"}
    assert (written["continue_final_message"], written["add_generation_prompt"]) == (True, False)
    assert written["max_tokens"] == 63
