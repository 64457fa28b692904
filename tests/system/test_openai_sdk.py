"""The real OpenAI SDK, sync and async, against a running gateway: what applications will do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import openai
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.support.faulty import refusing_port
from tests.system.world import (
    KEY,
    Gateway,
    Simulator,
    gateway,
    key,
    settings,
    simulator,
    until,
    vllm,
)

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
USE_A_TOOL: list[Any] = [{"role": "user", "content": "Use the tool, please."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
ODD = "org/Chat-1:latest"
KEYS = {name: key(seed) for seed, name in enumerate(("requests", "tokens", "concurrency"), 2)}
LIMITED_MODELS = ("chat", "slow")


class Forecast(BaseModel):
    """What a structured answer shall look like."""

    city: str
    days: int


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with simulator(tmp_path_factory.mktemp("simulator")) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: Simulator) -> Iterator[Gateway]:
    config = settings({"sim": upstream.url})
    on_sim = {"targets": [{"provider": "sim", "model": "demo-model"}], "max_output": 64}
    config["providers"]["gone"] = vllm(f"http://127.0.0.1:{refusing_port()}")
    config["models"] |= {
        ODD: on_sim,
        "forbidden": on_sim,
        "slow": {**on_sim, "timeouts": {"first_content": "200ms"}, "retries": {"attempts": 1}},
        "gone": {"targets": [{"provider": "gone", "model": "demo-model"}], "max_output": 64}
        | {"retries": {"attempts": 1}},
    }
    config["tenants"]["acme"]["models"] = ["chat", ODD, "slow", "gone"]
    config["plans"] |= {
        "requests": {"requests": "1/second"},
        "tokens": {"tokens": "600/minute"},
        "concurrency": {"concurrency": 1},
    }
    config["tenants"] |= {
        name: {"plan": name, "models": ["chat"], "keys": [{"name": "k", "key": KEYS[name]}]}
        for name in KEYS
    }
    with gateway(tmp_path_factory.mktemp("gateway"), config) as process:
        yield process


@pytest.fixture(autouse=True)
def _sane(upstream: Simulator) -> None:
    upstream.fresh()


class Sync:
    """The SDK as most programs use it."""

    def __init__(self, url: str, **options: Any) -> None:
        self._options: dict[str, Any] = {
            "base_url": f"{url}/v1",
            "api_key": KEY,
            "max_retries": 0,
        } | options

    @contextmanager
    def _client(self) -> Iterator[openai.OpenAI]:
        plain = openai.DefaultHttpxClient(verify=False)  # a TLS context costs 50 ms
        with openai.OpenAI(**self._options, http_client=plain) as client:
            yield client

    def chat(self, **fields: Any) -> ChatCompletion:
        with self._client() as client:
            answer: ChatCompletion = client.chat.completions.create(**_ask(fields))
            return answer

    def stream(self, **fields: Any) -> list[ChatCompletionChunk]:
        with self._client() as client:
            return list(client.chat.completions.create(**_ask(fields), stream=True))

    def parse(self, kind: type[BaseModel]) -> Any:
        with self._client() as client:
            answer = client.chat.completions.parse(**_ask({}), response_format=kind)
            return answer.choices[0].message.parsed

    def embed(self, **fields: Any) -> CreateEmbeddingResponse:
        with self._client() as client:
            return client.embeddings.create(**{"model": "chat", "input": "Hello!"} | fields)

    def complete(self, **fields: Any) -> Any:
        with self._client() as client:
            answer = client.completions.create(**{"model": "chat", "prompt": "Once"} | fields)
            return list(answer) if fields.get("stream") else answer

    def models(self) -> list[str]:
        with self._client() as client:
            return [model.id for model in client.models.list()]

    def model(self, name: str) -> Any:
        with self._client() as client:
            return client.models.retrieve(name)


class Async:
    """The same with the asynchronous SDK."""

    def __init__(self, url: str, **options: Any) -> None:
        self._options: dict[str, Any] = {
            "base_url": f"{url}/v1",
            "api_key": KEY,
            "max_retries": 0,
        } | options

    def _run(self, ask: Callable[[openai.AsyncOpenAI], Any]) -> Any:
        async def asked() -> Any:
            async with self._client() as client:
                return await ask(client)

        with asyncio.Runner() as runner:
            return runner.run(asked())

    def _client(self) -> AbstractAsyncContextManager[openai.AsyncOpenAI]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[openai.AsyncOpenAI]:
            plain = openai.DefaultAsyncHttpxClient(verify=False)
            async with openai.AsyncOpenAI(**self._options, http_client=plain) as client:
                yield client

        return opened()

    def chat(self, **fields: Any) -> ChatCompletion:
        answer: ChatCompletion = self._run(
            lambda client: client.chat.completions.create(**_ask(fields))
        )
        return answer

    def stream(self, **fields: Any) -> list[ChatCompletionChunk]:
        async def read(client: openai.AsyncOpenAI) -> list[ChatCompletionChunk]:
            stream = await client.chat.completions.create(**_ask(fields), stream=True)
            return [chunk async for chunk in stream]

        chunks: list[ChatCompletionChunk] = self._run(read)
        return chunks

    def parse(self, kind: type[BaseModel]) -> Any:
        answer = self._run(
            lambda client: client.chat.completions.parse(**_ask({}), response_format=kind)
        )
        return answer.choices[0].message.parsed

    def embed(self, **fields: Any) -> CreateEmbeddingResponse:
        asked = {"model": "chat", "input": "Hello!"} | fields
        answer: CreateEmbeddingResponse = self._run(
            lambda client: client.embeddings.create(**asked)
        )
        return answer

    def complete(self, **fields: Any) -> Any:
        asked = {"model": "chat", "prompt": "Once"} | fields

        async def read(client: openai.AsyncOpenAI) -> Any:
            answer: Any = await client.completions.create(**asked)
            return [chunk async for chunk in answer] if fields.get("stream") else answer

        return self._run(read)

    def models(self) -> list[str]:
        async def read(client: openai.AsyncOpenAI) -> list[str]:
            return [model.id async for model in client.models.list()]

        names: list[str] = self._run(read)
        return names

    def model(self, name: str) -> Any:
        return self._run(lambda client: client.models.retrieve(name))


def _ask(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "chat", "messages": HELLO, **fields}


Sdk = Sync | Async


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def sdk(request: pytest.FixtureRequest, server: Gateway) -> Sdk:
    made: Sdk = request.param(server.url)
    return made


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(each.delta.content or "" for each in choices if each.index == index)


# Chat


def test_a_whole_answer_carries_the_public_name_the_usage_and_the_request_id(
    sdk: Sdk, server: Gateway
) -> None:
    answer = sdk.chat()

    assert answer.model == "chat"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id is not None
    assert server.record(answer._request_id)["completion_tokens"] == answer.usage.completion_tokens


def test_a_stream_says_what_the_whole_answer_says(sdk: Sdk) -> None:
    whole = sdk.chat()
    chunks = sdk.stream()

    assert text_of(chunks) == whole.choices[0].message.content
    assert {chunk.model for chunk in chunks} == {"chat"}
    assert len({(chunk.id, chunk.created, chunk.object) for chunk in chunks}) == 1
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == [
        "stop"
    ]


def test_usage_that_nobody_asked_for_is_not_streamed(sdk: Sdk, server: Gateway) -> None:
    chunks = sdk.stream()

    assert all(chunk.choices for chunk in chunks)
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)
    measured = (True, "measured", len(chunks) - 2)  # all but the role and the finish

    def is_told() -> bool:
        last = server.records()[-1]
        return (last["stream"], last["usage_source"], last["completion_tokens"]) == measured

    until(is_told)


def test_usage_that_was_asked_for_is_the_last_chunk(sdk: Sdk) -> None:
    whole = sdk.chat()
    *chunks, last = sdk.stream(stream_options={"include_usage": True})

    assert last.choices == []
    assert last.model == "chat"
    assert last.usage == whole.usage
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_a_whole_answer_calls_a_tool(sdk: Sdk) -> None:
    answer = sdk.chat(messages=USE_A_TOOL, tools=[WEATHER])

    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert isinstance(Forecast.model_validate_json(call.function.arguments), Forecast)
    assert answer.choices[0].finish_reason == "tool_calls"


def test_a_streamed_tool_call_is_the_whole_one_in_pieces(sdk: Sdk) -> None:
    whole = sdk.chat(messages=USE_A_TOOL, tools=[WEATHER]).choices[0].message.tool_calls
    chunks = sdk.stream(messages=USE_A_TOOL, tools=[WEATHER])

    calls = [
        call
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
    ]
    assert whole is not None
    assert whole[0].type == "function"
    assert {call.index for call in calls} == {0}
    assert calls[0].id
    named = [call.function.name for call in calls if call.function and call.function.name]
    assert named == ["weather"]
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert arguments == whole[0].function.arguments
    assert len(calls) > 2


def test_an_answered_tool_call_goes_on_as_a_conversation(sdk: Sdk) -> None:
    call = (sdk.chat(messages=USE_A_TOOL, tools=[WEATHER]).choices[0].message).model_dump(
        exclude_none=True
    )
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "Rain."}

    answer = sdk.chat(messages=[*USE_A_TOOL, call, result], tools=[WEATHER])

    assert answer.choices[0].finish_reason == "stop"


def test_two_choices_come_whole_and_streamed(sdk: Sdk) -> None:
    whole = sdk.chat(n=2)
    chunks = sdk.stream(n=2)

    said = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert said[0] != said[1]
    assert [text_of(chunks, index) for index in (0, 1)] == said
    finished = [c.index for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert sorted(finished) == [0, 1]


def test_a_schema_forms_the_answer(sdk: Sdk) -> None:
    assert isinstance(sdk.parse(Forecast), Forecast)


# The other routes


def test_embeddings_are_the_same_by_base64_and_as_floats(sdk: Sdk, upstream: Simulator) -> None:
    by_default = sdk.embed(input=["one", "two"])
    as_floats = sdk.embed(input=["one", "two"], encoding_format="float")

    asked = [json.loads(seen["body"])["encoding_format"] for seen in upstream.requests()]
    assert asked == ["base64", "float"]
    assert [each.index for each in by_default.data] == [0, 1]
    assert by_default.model == as_floats.model == "chat"
    assert by_default.usage.total_tokens == by_default.usage.prompt_tokens > 0
    for each, other in zip(by_default.data, as_floats.data, strict=True):
        assert each.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert by_default.data[0].embedding != by_default.data[1].embedding


def test_completions_come_whole_and_streamed(sdk: Sdk) -> None:
    whole = sdk.complete()
    chunks = sdk.complete(stream=True)

    assert whole.model == "chat"
    assert {chunk.model for chunk in chunks} == {"chat"}
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_the_models_listed_are_those_that_the_key_may_use(sdk: Sdk) -> None:
    assert sdk.models() == ["chat", ODD, "slow", "gone"]


def test_a_model_whose_name_has_slashes_and_colons_can_be_retrieved(sdk: Sdk) -> None:
    assert sdk.model(ODD).id == ODD
    with pytest.raises(openai.NotFoundError):
        sdk.model("forbidden")


def test_a_model_whose_name_has_slashes_and_colons_answers(sdk: Sdk) -> None:
    assert sdk.chat(model=ODD).model == ODD
    assert {chunk.model for chunk in sdk.stream(model=ODD)} == {ODD}


# Errors


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages"),
        ({"extra_body": {"stream_options": {"include_usage": True}}}, "stream_options"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_request_names_its_field(
    sdk: Sdk, upstream: Simulator, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.chat(**fields)

    assert raised.value.type == "invalid_request_error"
    assert (raised.value.param or "").startswith(param)
    assert raised.value.request_id
    assert upstream.requests() == []


@pytest.mark.parametrize("wrong", [key(99), KEY[:-1] + "_", "sk-other", KEY[:-1]])
def test_a_wrong_key_is_an_authentication_error(server: Gateway, wrong: str) -> None:
    for kind in (Sync, Async):
        with pytest.raises(openai.AuthenticationError) as raised:
            kind(server.url, api_key=wrong).chat()
        assert raised.value.code == "invalid_api_key"
        assert "Incorrect API key provided." in raised.value.message


def test_an_unknown_and_a_forbidden_model_can_not_be_told_apart(sdk: Sdk) -> None:
    bodies = []
    for name in ("forbidden", "no-such-model"):
        with pytest.raises(openai.NotFoundError) as raised:
            sdk.chat(model=name)
        bodies.append(raised.value.response.content)
        assert raised.value.code == "model_not_found"
    assert bodies[0] == bodies[1]


def _refused(sdk: Sdk, **fields: Any) -> openai.RateLimitError:
    for _ in range(20):
        try:
            sdk.chat(**fields)
        except openai.RateLimitError as error:
            return error
    raise AssertionError("the limit does not hold")


def test_a_request_limit_is_a_rate_limit_error_that_says_when(server: Gateway) -> None:
    for kind in (Sync, Async):
        error = _refused(kind(server.url, api_key=KEYS["requests"]))
        assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
        assert error.response.headers["x-should-retry"] == "true"
        assert 0 < float(error.response.headers["retry-after-ms"]) <= 1100


def test_the_sdks_own_retries_wait_for_as_long_as_they_are_told(server: Gateway) -> None:
    for kind in (Sync, Async):
        sdk = kind(server.url, api_key=KEYS["requests"], max_retries=2)
        began = time.monotonic()
        for _ in range(2):
            assert sdk.chat().choices[0].message.content
        assert time.monotonic() - began >= 0.9


def test_a_token_limit_is_a_rate_limit_error(server: Gateway) -> None:
    error = _refused(Sync(server.url, api_key=KEYS["tokens"]), max_tokens=400)

    assert (error.type, error.code) == ("tokens", "rate_limit_exceeded")
    assert float(error.response.headers["retry-after"]) >= 1


def test_a_concurrency_limit_is_a_rate_limit_error(server: Gateway, upstream: Simulator) -> None:
    upstream.faults({"kind": "stall", "after": 3, "times": 1})
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEYS["concurrency"], max_retries=0
    ) as client:
        stream = client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        next(iter(stream))

        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model="chat", messages=HELLO)
        stream.close()

    assert (raised.value.type, raised.value.code) == ("requests", "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("fault", "model", "status", "code"),
    [
        ({"kind": "status", "status": 503}, "chat", 502, "upstream_error"),
        ({"kind": "status", "status": 500}, "chat", 502, "upstream_error"),
        ({"kind": "status", "status": 401}, "chat", 502, "upstream_auth_error"),
        ({"kind": "stall"}, "slow", 504, "upstream_timeout"),
        ({"kind": "delay"}, "gone", 503, "no_healthy_upstream"),
    ],
    ids=["unavailable", "failing", "credential", "slow", "gone"],
)
def test_an_upstream_that_fails_is_an_internal_server_error(
    sdk: Sdk, upstream: Simulator, fault: dict[str, Any], model: str, status: int, code: str
) -> None:
    upstream.faults(fault)

    with pytest.raises(openai.InternalServerError) as raised:
        sdk.chat(model=model)

    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert raised.value.request_id


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
    ],
)
def test_what_the_upstream_finds_wrong_with_a_request_reaches_the_caller_at_once(
    server: Gateway, upstream: Simulator, status: int, kind: type[openai.APIStatusError]
) -> None:
    for sdk in (Sync(server.url, max_retries=2), Async(server.url, max_retries=2)):
        upstream.fresh()
        upstream.faults({"kind": "status", "status": status})
        with pytest.raises(kind) as raised:
            sdk.chat()
        assert "The simulator was told to answer this." in raised.value.message
        assert isinstance(raised.value.code, str | None)
        assert raised.value.request_id
        assert len(upstream.requests()) == 1


def test_a_stream_that_breaks_off_is_an_api_error_after_what_came_before(
    sdk: Sdk, server: Gateway, upstream: Simulator
) -> None:
    upstream.faults({"kind": "cut", "after": 5})
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        stream = client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        came = [next(stream).model for _ in range(4)]
        with pytest.raises(openai.APIError) as raised:
            list(stream)

    assert came == ["chat"] * 4
    assert raised.value.code == "upstream_disconnected"
    with pytest.raises(openai.APIError, match="upstream failed"):
        sdk.stream()
