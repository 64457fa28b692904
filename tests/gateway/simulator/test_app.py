from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from gateway.simulator.script import PAGE
from tests.support.simulator import RunningSimulator, events, running_simulator

HELLO: Any = [{"role": "user", "content": "Hello"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(models=["one", "org/two"], max_model_len=200) as running:
        yield running


@pytest.fixture
async def client(sim: RunningSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sim.url) as opened:
        yield opened


@pytest.fixture
async def sdk(sim: RunningSimulator) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{sim.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as opened:
        yield opened


async def test_the_sdk_reads_a_chat_whole_and_streamed_alike(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.chat.completions.create(model="one", messages=HELLO, n=2)
    streamed = ["", ""]
    usage = None
    async for chunk in await sdk.chat.completions.create(
        model="one", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""

    assert [choice.message.content for choice in whole.choices] == streamed
    assert whole.usage is not None
    assert usage is not None
    assert usage.model_dump() == whole.usage.model_dump()


async def test_the_sdk_reads_a_tool_call_and_may_answer_it(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(
        model="one", messages=HELLO, tools=[TOOL], tool_choice="required"
    ) as stream:
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert message.tool_calls is not None
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    turns: Any = [*HELLO, message.model_dump(exclude_none=True), result]

    answer = await sdk.chat.completions.create(model="one", messages=turns, tools=[TOOL])

    assert final.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content


async def test_the_sdk_reads_embeddings_models_and_completions(sdk: openai.AsyncOpenAI) -> None:
    vectors = await sdk.embeddings.create(model="one", input=["a", "b"])
    models = [model.id async for model in sdk.models.list()]
    text = await sdk.completions.create(model="org/two", prompt="Once", max_tokens=3)

    assert [len(each.embedding) for each in vectors.data] == [64, 64]
    assert models == ["one", "org/two"]
    assert text.model == "org/two"


@pytest.mark.parametrize(
    ("fields", "raised"),
    [
        ({"model": "three"}, openai.NotFoundError),
        ({"max_tokens": 0}, openai.BadRequestError),
        ({"max_tokens": 201}, openai.BadRequestError),
        ({"temperature": -1}, openai.BadRequestError),
    ],
)
async def test_a_wrong_request_raises_what_vllm_would_make_the_sdk_raise(
    sdk: openai.AsyncOpenAI, fields: dict[str, Any], raised: type[openai.APIStatusError]
) -> None:
    with pytest.raises(raised) as caught:
        await sdk.chat.completions.create(**{"model": "one", "messages": HELLO, **fields})

    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == caught.value.status_code


async def test_an_error_event_raises_in_the_sdk(
    sim: RunningSimulator, sdk: openai.AsyncOpenAI
) -> None:
    sim.faults({"kind": "error_event", "after": 3})

    with pytest.raises(openai.APIError, match="told to fail"):
        async for _ in await sdk.chat.completions.create(model="one", messages=HELLO, stream=True):
            pass


async def test_tokenize_counts_what_usage_counts_and_detokenize_undoes_it(
    client: httpx.AsyncClient,
) -> None:
    chat = (await client.post("/v1/chat/completions", json={"messages": HELLO})).json()
    text = chat["choices"][0]["message"]["content"]
    prompt = (await client.post("/tokenize", json={"messages": HELLO})).json()
    answer = (
        await client.post("/tokenize", json={"prompt": text, "return_token_strs": True})
    ).json()
    back = (await client.post("/detokenize", json={"tokens": answer["tokens"]})).json()

    assert prompt["count"] == chat["usage"]["prompt_tokens"]
    assert answer["count"] == chat["usage"]["completion_tokens"]
    assert "".join(answer["token_strs"]) == back["prompt"] == text
    assert answer["max_model_len"] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/ping", 200),
        ("POST", "/ping", 200),
        ("GET", "/version", 200),
        ("GET", "/load", 200),
        ("GET", "/metrics", 200),
        ("GET", "/none", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/chat/completions", 400),
        ("POST", "/tokenize", 400),
        ("POST", "/detokenize", 400),
    ],
)
async def test_every_path_answers(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    assert (await client.request(method, path)).status_code == status


@pytest.mark.parametrize("body", [{"tokens": [2]}, {"tokens": ["a"]}, {"tokens": [1], "model": ""}])
async def test_what_is_no_token_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    assert (await client.post("/detokenize", json=body)).status_code in (400, 404)


async def test_a_prompt_or_messages_must_be_given(client: httpx.AsyncClient) -> None:
    assert (await client.post("/tokenize", json={})).status_code == 400


async def test_models_say_how_long_their_context_is(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()["data"]

    assert [model["max_model_len"] for model in models] == [200, 200]


async def test_metrics_count_each_model_apart(client: httpx.AsyncClient) -> None:
    await client.post("/v1/completions", json={"model": "org/two", "prompt": "a"})

    text = (await client.get("/metrics")).text

    assert 'vllm:generation_tokens_total{engine="0",model_name="one"} 0.0' in text
    assert 'vllm:generation_tokens_total{engine="0",model_name="org/two"} 16.0' in text


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("Bearer wrong", 401), ("Bearer right", 200)]
)
async def test_a_key_is_asked_for_under_v1_alone(header: str | None, status: int) -> None:
    headers = {"authorization": header} if header else {}
    async with (
        running_simulator(api_key="right") as sim,
        httpx.AsyncClient(base_url=sim.url, headers=headers) as client,
    ):
        assert (await client.get("/v1/models")).status_code == status
        assert (await client.get("/health")).status_code == 200


async def test_a_status_is_answered_as_it_was_written(
    sim: RunningSimulator, client: httpx.AsyncClient
) -> None:
    sim.faults(
        {"kind": "status", "status": 429, "retry_after": 7, "times": 1},
        {
            "kind": "status",
            "status": 529,
            "retry_after": "soon",
            "body": "no",
            "content_type": "a/b",
        },
    )

    limited = await client.post("/v1/chat/completions", json={"messages": HELLO})
    overloaded = await client.post("/v1/chat/completions", json={"messages": HELLO})

    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.json()["error"]["type"] == "TooManyRequestsError"
    assert (overloaded.status_code, overloaded.headers["retry-after"]) == (529, "soon")
    assert (overloaded.text, overloaded.headers["content-type"]) == ("no", "a/b")
    assert sim.state()["by_status"] == {"429": 1, "529": 1}
    assert sim.state()["prompt_tokens"] == 0


async def test_a_page_and_a_redirect_stand_in_place_of_an_answer(
    sim: RunningSimulator, client: httpx.AsyncClient
) -> None:
    sim.faults({"kind": "html", "times": 1}, {"kind": "redirect", "location": "http://x/"})

    page = await client.post("/v1/completions", json={"prompt": "a"})
    moved = await client.post("/v1/completions", json={"prompt": "a"})

    assert page.content == PAGE
    assert page.headers["content-type"].startswith("text/html")
    assert (moved.status_code, moved.headers["location"]) == (307, "http://x/")


async def test_an_embedding_meets_faults_as_any_whole_answer(
    sim: RunningSimulator, client: httpx.AsyncClient
) -> None:
    sim.faults({"kind": "error_event"})

    assert "error" in (await client.post("/v1/embeddings", json={"input": "a"})).json()


async def test_two_answers_to_one_request_differ_in_their_id_alone(
    client: httpx.AsyncClient,
) -> None:
    body = {"messages": HELLO, "stream": True}
    told = [events((await client.post("/v1/chat/completions", json=body)).text) for _ in range(2)]

    assert told[0][0]["id"] != told[1][0]["id"]
    for one, two in zip(told[0][:-1], told[1][:-1], strict=True):
        assert one["choices"] == two["choices"]
