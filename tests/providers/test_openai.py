"""OpenAI and hosts like it: what is sent, and that the provider's rules hold."""

import json
from typing import Any

import httpx
import pytest
import respx
from pydantic import ValidationError

from gateway.contract.conformance import Exchange, ProviderSuite
from gateway.contract.provider import Body, Operation, Target, UpstreamRequest, Usage
from gateway.contract.sse import SSEDecoder
from providers.openai import OpenAI, OpenAISettings

CHAT: Body = {"model": "chat-small", "messages": [{"role": "user", "content": "Hello"}]}
TARGET = Target("openai", "gpt-x", max_output=256)


def chunk(choices: list[Any], **fields: Any) -> bytes:
    payload = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-x", **fields}
    return b"data: " + json.dumps({**payload, "choices": choices}).encode() + b"\n\n"


def delta(text: str, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


STREAM = b"".join(
    [
        chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]),
        b": a comment\r\n\r\n",
        chunk([delta("Grüß ")], usage=None),
        chunk([delta("dich", finish="stop")]),
        chunk(
            [],
            usage={
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
        ),
        b"data: [DONE]\n\n",
    ]
)
WHOLE = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "model": "gpt-x",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
).encode()
COMPLETION = json.dumps(
    {
        "object": "text_completion",
        "choices": [{"index": 0, "text": " a gate", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }
).encode()
EMBEDDING = json.dumps(
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
).encode()
EXCHANGES = (
    Exchange(
        "chat",
        STREAM,
        stream=True,
        text="Grüß dich",
        finish=("stop",),
        usage=Usage(9, 5, cached=4, reasoning=2),
    ),
    Exchange("chat", WHOLE, text="Hi", finish=("stop",), usage=Usage(9, 1)),
    Exchange("completion", COMPLETION, text=" a gate", finish=("length",), usage=Usage(2, 2)),
    Exchange("embedding", EMBEDDING, usage=Usage(3, 0)),
    Exchange("embedding", EMBEDDING, usage=Usage(3, 0), body={"encoding_format": "base64"}),
)


def openai(**fields: Any) -> OpenAI:
    return OpenAI("openai", OpenAISettings(kind="openai", **{"api_key": "sk-secret-key", **fields}))


class TestOpenAI(ProviderSuite):
    provider = openai()
    exchanges = EXCHANGES


class TestHostLikeOpenAI(ProviderSuite):
    provider = openai(base_url="http://127.0.0.1:1234/openai/v1/", api_key="", drop_params=True)
    exchanges = EXCHANGES


OFFICIAL = openai()
HOST = openai(base_url="http://127.0.0.1:1234/v1", api_key="")


def sent(provider: OpenAI, body: Body, operation: Operation = "chat", **target: Any) -> Any:
    request = provider.encode(operation, body, Target("openai", "gpt-x", **target))
    return json.loads(request.content)


@pytest.mark.parametrize(
    "base_url", ["https://api.openai.com", "https://api.openai.com/", "https://api.openai.com/v1/"]
)
@pytest.mark.parametrize(
    ("operation", "path"),
    [("chat", "chat/completions"), ("completion", "completions"), ("embedding", "embeddings")],
)
def test_the_address_is_right_with_and_without_the_version(
    base_url: str, operation: Operation, path: str
) -> None:
    body = {**CHAT, "prompt": "a", "input": "a"}
    assert openai(base_url=base_url).encode(operation, body, TARGET).url == (
        f"https://api.openai.com/v1/{path}"
    )


def test_only_openai_itself_needs_a_credential() -> None:
    assert OFFICIAL.is_active
    assert HOST.is_active
    assert not openai(api_key="").is_active
    assert not openai(base_url="https://eu.api.openai.com/v1", api_key="").is_active


def test_only_openai_itself_has_openais_prices() -> None:
    assert openai().price_list("gpt-4o") == ("openai", "gpt-4o")
    assert openai(base_url="https://eu.api.openai.com/v1").price_list("m") == ("openai", "m")
    assert openai(base_url="http://127.0.0.1:8000").price_list("gpt-4o") is None


def test_an_empty_credential_is_not_sent() -> None:
    assert HOST.encode("chat", CHAT, TARGET).headers == ((b"content-type", b"application/json"),)


def test_credential_organisation_and_project_are_headers() -> None:
    headers = openai(organization="org-1", project="proj-1").encode("chat", CHAT, TARGET).headers

    assert dict(headers) == {
        b"content-type": b"application/json",
        b"authorization": b"Bearer sk-secret-key",
        b"openai-organization": b"org-1",
        b"openai-project": b"proj-1",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "sk-secret\nx: y"},
        {"api_key": "sk-secrét"},
        {"organization": "a\r\nb"},
        {"project": "a b"},
        {"base_url": "ftp://host"},
        {"unknown": 1},
    ],
)
def test_settings_that_would_break_a_header_or_are_unknown_are_refused(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError) as raised:
        openai(**fields)
    assert "sk-secr" not in str(raised.value)


def test_unknown_fields_go_on_and_nothing_of_the_body_changes() -> None:
    body = {**CHAT, "model": "chat-small", "x_new": [1], "top_k": 5}

    assert sent(HOST, body) == {**body, "model": "gpt-x"}
    assert body["model"] == "chat-small"


def test_fields_of_vllm_are_dropped_for_openai_and_announced() -> None:
    body = {
        **CHAT,
        "top_k": 5,
        "guided_json": {},
        "x_new": 1,
        "stream": True,
        "stream_options": {"continuous_usage_stats": True},
    }
    request = OFFICIAL.encode("chat", body, TARGET)

    assert set(request.dropped) == {
        "top_k",
        "guided_json",
        "stream_options.continuous_usage_stats",
    }
    written = json.loads(request.content)
    assert written["stream_options"] == {"include_usage": True}
    assert written["x_new"] == 1
    assert "top_k" not in written
    assert sent(openai(drop_params=False), body)["top_k"] == 5
    assert "top_k" not in sent(openai(base_url="http://127.0.0.1:1", drop_params=True), body)


@pytest.mark.parametrize(
    ("provider", "field"), [(OFFICIAL, "max_completion_tokens"), (HOST, "max_tokens")]
)
@pytest.mark.parametrize(
    ("given", "most", "cap"),
    [
        ({}, 256, 256),
        ({}, None, None),
        ({"max_tokens": 9}, 256, 9),
        ({"max_completion_tokens": 9}, 256, 9),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 256, 7),
        ({"max_tokens": None, "max_completion_tokens": None}, 256, 256),
    ],
)
def test_the_cap_is_sent_once_in_the_field_that_the_host_wants(
    provider: OpenAI, field: str, given: dict[str, Any], most: int | None, cap: int | None
) -> None:
    written = sent(provider, {**CHAT, **given}, max_output=most)
    caps = {name: written[name] for name in written if name.startswith("max_")}

    assert caps == ({} if cap is None else {field: cap})


def test_the_cap_of_a_host_can_be_named() -> None:
    azure = openai(base_url="http://127.0.0.1:1", max_tokens_field="max_completion_tokens")
    assert sent(azure, CHAT, max_output=5)["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("given", "cap"), [({}, 256), ({"max_tokens": 0}, 0), ({"max_tokens": None}, 256)]
)
def test_a_completion_is_capped_by_max_tokens(given: dict[str, Any], cap: int) -> None:
    body = {"model": "m", "prompt": "a", **given}
    assert sent(OFFICIAL, body, "completion", max_output=256)["max_tokens"] == cap


@pytest.mark.parametrize("options", [5, "continuous_usage_stats", [], True])
def test_an_embedding_may_have_stream_options_that_make_no_sense(options: Any) -> None:
    body = {"model": "m", "input": "a", "stream_options": options}

    assert sent(OFFICIAL, body, "embedding")["stream_options"] == options


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"x": 1}])
def test_usage_is_asked_for_where_the_client_did_not(options: dict[str, Any] | None) -> None:
    body = {**CHAT, "stream": True, "stream_options": options}
    request = HOST.encode("chat", body, TARGET)

    assert request.injected_usage
    written = json.loads(request.content)["stream_options"]
    assert written == {**(options or {}), "include_usage": True}
    assert body["stream_options"] is options


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        (HOST, {}),
        (HOST, {"stream": False}),
        (HOST, {"stream": True, "stream_options": {"include_usage": True}}),
        (openai(stream_usage=False), {"stream": True}),
    ],
)
def test_usage_is_asked_for_nowhere_else(provider: OpenAI, fields: dict[str, Any]) -> None:
    request = provider.encode("chat", {**CHAT, **fields}, TARGET)

    assert not request.injected_usage
    assert json.loads(request.content).get("stream_options") == fields.get("stream_options")


@pytest.mark.parametrize(
    ("encoding", "written"),
    [({"encoding_format": None}, {}), ({"encoding_format": ""}, {}), ({}, {})],
)
def test_an_encoding_that_says_nothing_is_not_sent(
    encoding: dict[str, Any], written: dict[str, Any]
) -> None:
    body = {"model": "m", "input": "a", **encoding}
    assert sent(HOST, body, "embedding", max_output=5) == {
        "model": "gpt-x",
        "input": "a",
        **written,
    }


async def fetch(provider: OpenAI, request: UpstreamRequest, router: respx.Router) -> httpx.Response:
    transport = httpx.MockTransport(router.async_handler)
    outgoing = httpx.Request("POST", request.url, headers=request.headers, content=request.content)
    return await transport.handle_async_request(outgoing)


async def test_a_stream_is_asked_for_and_read_over_http() -> None:
    router = respx.Router()
    route = router.post(
        "https://api.openai.com/v1/chat/completions",
        headers={"authorization": "Bearer sk-secret-key"},
        json__model="gpt-x",
        json__stream=True,
    ).respond(content=STREAM, headers={"content-type": "text/event-stream"})
    body = {**CHAT, "stream": True}

    answer = await fetch(OFFICIAL, OFFICIAL.encode("chat", body, TARGET), router)

    reader = OFFICIAL.reader("chat", body, stream=True)
    events = SSEDecoder().feed(await answer.aread())
    seen = [reader.read(event.data) for event in events if event.data is not None]
    assert route.call_count == 1
    assert [each.pieces for each in seen] == [0, 1, 1, 0, 0]
    assert reader.complete
    assert seen[-1].done


async def test_a_refusal_is_named_over_http() -> None:
    router = respx.Router()
    router.post("https://api.openai.com/v1/chat/completions").respond(
        status_code=429, headers={"Retry-After": "7"}, json={"error": {"message": "slow down"}}
    )

    answer = await fetch(OFFICIAL, OFFICIAL.encode("chat", CHAT, TARGET), router)

    error = OFFICIAL.error(answer.status_code, answer.headers, await answer.aread())
    assert (error.code, error.retry_after, error.told) == ("rate_limit_exceeded", 7, "slow down")
