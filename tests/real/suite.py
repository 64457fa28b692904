"""
What holds in front of every real server: a test class, inherited once for each.

The module that inherits gives the fixtures `real`, the server, and `server`, a gateway
configured by `settings_for`. Nothing about a model's words is asserted but that there are some.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from tests.real.servers import MODEL, RealServer
from tests.system.world import KEY as CALLERS_KEY
from tests.system.world import Gateway, Json, bearer, post, settings, until

PROMPT = "Tell me a long story about a ship that passes a lock on a canal."
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
LONG = 600
"""Tokens of an answer that is still being written when its client leaves: ten seconds of it."""
TOKENS_AN_HOUR = 10_000_000
SOON = 1.0
"""Seconds within which a server must be free again."""
IDLE = 6.0
"""Seconds after which both servers have closed a connection that nobody used: they wait 5."""


def settings_for(real: RealServer, **more: Any) -> Json:
    """`chat` on the real server, and the same with a wrong credential and a wrong model."""
    config = settings({"real": real.url}, plan={"tokens": f"{TOKENS_AN_HOUR}/hour"})
    config["providers"] = {"real": real.provider(), "wrong": real.provider(api_key="sk-wrong")}
    config["models"] = {
        "chat": {"targets": [{"provider": "real", "model": MODEL}], "max_output": 64},
        "wrong-key": {"targets": [{"provider": "wrong", "model": MODEL}], "max_output": 64},
        "missing": {"targets": [{"provider": "real", "model": "other"}], "max_output": 64},
    }
    return config | more


def client(server: Gateway) -> openai.OpenAI:
    """What an application has: the SDK, with a gateway's address and key."""
    return openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=CALLERS_KEY, max_retries=0, timeout=60
    )


def ask(**fields: Any) -> Json:
    """The body of a chat request whose answer is always the same."""
    return {"model": "chat", "messages": MESSAGES, "max_tokens": 24, "temperature": 0} | fields


def streamed(server: Gateway, **fields: Any) -> list[ChatCompletionChunk]:
    """All chunks of one stream."""
    with client(server) as sdk:
        stream: Any = sdk.chat.completions.create(**ask(**fields, stream=True))
        return list(stream)


def text(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    """What a stream says in one of its choices."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def last_record(server: Gateway, records_before: int) -> Json:
    """The log line of the one request since then."""
    until(lambda: len(server.records()) > records_before)
    [record] = server.records()[records_before:]
    return record


def tokens(server: Gateway, model: str = "chat") -> tuple[int, int]:
    """Tokens read and written, by the gateway's metrics."""
    told = server.metrics()
    name = 'lockgate_tokens_total{{direction="{}",model="{}"}}'
    read, written = (told.get(name.format(each, model), 0) for each in ("input", "output"))
    return round(read), round(written)


@contextmanager
def half_read(server: Gateway, **fields: Any) -> Iterator[Iterator[str]]:
    """The rest of a long stream, as lines; the client leaves at the end of the block."""
    body = ask(max_tokens=LONG, stream=True, **fields)
    url = f"{server.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=bearer(), timeout=60) as response:
        assert response.status_code == 200, response.read()
        lines = response.iter_lines()
        for _ in range(20):
            next(lines)
        yield lines


@pytest.mark.real
class RealServerSuite:
    """A gateway in front of a real server."""

    @pytest.fixture(autouse=True)
    def _the_test_before_is_over(self, server: Gateway) -> None:
        """A request is recorded when it has ended, which may be after its client has gone on."""

        def all_is_recorded() -> bool:
            told = server.metrics().items()
            ended = sum(v for name, v in told if name.startswith("lockgate_requests_total"))
            return server.is_idle() and len(server.records()) == ended

        until(all_is_recorded)

    # Whole

    def test_a_whole_answer_is_the_servers_own_under_the_public_name(
        self, server: Gateway, real: RealServer
    ) -> None:
        with client(server) as sdk:
            answer = sdk.chat.completions.create(**ask())
        own = real.ask("/v1/chat/completions", ask(model=MODEL))

        assert answer.model == "chat"
        assert answer.choices[0].message.content == own["choices"][0]["message"]["content"]
        assert answer.choices[0].finish_reason == own["choices"][0]["finish_reason"]
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == own["usage"]["prompt_tokens"]
        assert answer.usage.completion_tokens == own["usage"]["completion_tokens"]

    def test_the_usage_of_a_whole_answer_is_measured_and_counted(self, server: Gateway) -> None:
        before, records = tokens(server), len(server.records())

        with client(server) as sdk:
            usage = sdk.chat.completions.create(**ask()).usage

        assert usage is not None
        record = last_record(server, records)
        assert record["usage_source"] == "measured"
        assert (record["prompt_tokens"], record["completion_tokens"]) == (
            usage.prompt_tokens,
            usage.completion_tokens,
        )
        assert tokens(server) == (
            before[0] + usage.prompt_tokens,
            before[1] + usage.completion_tokens,
        )

    def test_a_reservation_is_settled_to_the_usage(self, server: Gateway) -> None:
        def remaining_and_used() -> tuple[int, int]:
            with client(server) as sdk:
                raw = sdk.chat.completions.with_raw_response.create(**ask())
            usage = raw.parse().usage
            assert usage is not None
            return int(raw.headers["x-ratelimit-remaining-tokens"]), usage.total_tokens

        first, used = remaining_and_used()
        second, _ = remaining_and_used()

        assert first - second == used

    def test_a_text_completion_is_answered_whole_and_streamed(self, server: Gateway) -> None:
        asked: Any = {"model": "chat", "prompt": "The sky is", "max_tokens": 8, "temperature": 0}
        with client(server) as sdk:
            whole = sdk.completions.create(**asked)
            chunks = list(sdk.completions.create(**asked, stream=True))

        said = "".join(choice.text for chunk in chunks for choice in chunk.choices)
        assert said == whole.choices[0].text != ""
        assert {whole.model, *(chunk.model for chunk in chunks)} == {"chat"}
        assert not any(chunk.usage for chunk in chunks)

    # Streamed

    def test_a_stream_says_what_the_whole_answer_says(self, server: Gateway) -> None:
        with client(server) as sdk:
            whole = sdk.chat.completions.create(**ask())
        chunks = streamed(server)

        assert text(chunks) == whole.choices[0].message.content
        assert sum(bool(text([chunk])) for chunk in chunks) > 10
        assert {chunk.model for chunk in chunks} == {"chat"}
        assert len({chunk.id for chunk in chunks}) == 1

    def test_text_arrives_while_the_server_still_writes(
        self, server: Gateway, real: RealServer
    ) -> None:
        with half_read(server):
            assert real.busy() == 1

    def test_usage_that_was_asked_for_comes_last_and_is_counted(self, server: Gateway) -> None:
        before, records = tokens(server), len(server.records())

        *chunks, last = streamed(server, stream_options={"include_usage": True})

        assert last.usage is not None
        assert last.choices == []
        assert not any(chunk.usage for chunk in chunks)
        record = last_record(server, records)
        assert record["usage_source"] == "measured"
        assert tokens(server) == (
            before[0] + last.usage.prompt_tokens,
            before[1] + last.usage.completion_tokens,
        )

    def test_usage_that_nobody_asked_for_is_counted_and_not_shown(self, server: Gateway) -> None:
        *_, last = streamed(server, stream_options={"include_usage": True})
        assert last.usage is not None
        before, records = tokens(server), len(server.records())

        chunks = streamed(server)

        assert all(chunk.choices for chunk in chunks)
        assert not any("usage" in chunk.model_fields_set for chunk in chunks)
        assert last_record(server, records)["usage_source"] == "measured"
        assert tokens(server) == (
            before[0] + last.usage.prompt_tokens,
            before[1] + last.usage.completion_tokens,
        )

    def test_two_choices_come_whole_and_streamed(self, server: Gateway) -> None:
        wanted: Any = {"n": 2, "temperature": 0.8}
        with client(server) as sdk:
            whole = sdk.chat.completions.create(**ask(**wanted))
        chunks = streamed(server, **wanted)

        assert [choice.index for choice in whole.choices] == [0, 1]
        assert all(choice.message.content for choice in whole.choices)
        assert all(text(chunks, index) for index in (0, 1))
        ends = [c.index for chunk in chunks for c in chunk.choices if c.finish_reason]
        assert sorted(ends) == [0, 1]

    def test_an_answer_can_be_held_to_a_schema(self, server: Gateway) -> None:
        schema = {
            "type": "object",
            "properties": {"afloat": {"type": "boolean"}},
            "required": ["afloat"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "ship", "schema": schema}}

        chunks = streamed(server, max_tokens=64, response_format=form)

        assert set(json.loads(text(chunks))) == {"afloat"}

    async def test_more_streams_than_the_server_takes_at_once_all_come_to_their_end(
        self, server: Gateway
    ) -> None:
        before, records = tokens(server), len(server.records())
        usages: list[CompletionUsage] = []

        async def read(sdk: openai.AsyncOpenAI) -> None:
            body = ask(max_tokens=12, stream=True, stream_options={"include_usage": True})
            stream: Any = await sdk.chat.completions.create(**body)
            chunks = [chunk async for chunk in stream]
            usages.extend(chunk.usage for chunk in chunks if chunk.usage)

        async with (
            openai.AsyncOpenAI(
                base_url=f"{server.url}/v1", api_key=CALLERS_KEY, max_retries=0, timeout=120
            ) as sdk,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(12):
                group.create_task(read(sdk))

        assert len(usages) == 12
        until(lambda: len(server.records()) == records + 12)
        assert tokens(server) == (
            before[0] + sum(usage.prompt_tokens for usage in usages),
            before[1] + sum(usage.completion_tokens for usage in usages),
        )

    # Hang-ups

    def test_a_client_that_leaves_a_stream_frees_the_server_and_the_connection(
        self, server: Gateway, real: RealServer
    ) -> None:
        records = len(server.records())
        with half_read(server):
            pass

        until(server.is_idle, within=SOON)
        until(lambda: real.busy() == 0, within=SOON)
        record = last_record(server, records)
        assert record["outcome"] == "hung_up"
        assert 0 < record["completion_tokens"] < LONG

    def test_a_client_that_leaves_a_whole_answer_frees_the_server_and_the_connection(
        self, server: Gateway, real: RealServer
    ) -> None:
        url = f"{server.url}/v1/chat/completions"
        with httpx.Client(timeout=1.5) as leaving, pytest.raises(httpx.ReadTimeout):
            leaving.post(url, json=ask(max_tokens=LONG), headers=bearer())

        until(server.is_idle, within=SOON)
        # Asked once: llama.cpp looks after its client when it has had no news for a second, and
        # being asked is news.
        time.sleep(SOON + 0.2)
        assert real.busy() == 0

    def test_hang_ups_leave_nothing_behind(self, server: Gateway, real: RealServer) -> None:
        for _ in range(10):
            with half_read(server):
                pass

        assert text(streamed(server))
        until(server.is_idle, within=SOON)
        until(lambda: real.busy() == 0, within=SOON)

    # Refusals

    def test_a_prompt_beyond_the_context_is_the_callers_to_mend(self, server: Gateway) -> None:
        for words, stream in ((9_000, False), (9_000, True), (90_000, False)):
            long = [{"role": "user", "content": "word " * words}]
            with client(server) as sdk, pytest.raises(openai.BadRequestError) as refused:
                sdk.chat.completions.create(**ask(messages=long, stream=stream))
            assert refused.value.code == "context_length_exceeded"
            assert refused.value.response.headers["x-lockgate-attempts"] == "1"

    def test_a_wrong_upstream_credential_is_no_fault_of_the_callers(self, server: Gateway) -> None:
        for stream in (False, True):
            with client(server) as sdk, pytest.raises(openai.InternalServerError) as failed:
                sdk.chat.completions.create(**ask(model="wrong-key", stream=stream))
            assert (failed.value.status_code, failed.value.code) == (502, "upstream_auth_error")
            assert "sk-wrong" not in failed.value.response.text

    # Connections

    def test_a_connection_that_the_server_closed_meanwhile_is_noticed(
        self, server: Gateway
    ) -> None:
        for idle in (0, IDLE, 4.97, 5.0, 5.03):  # it closes after 5 s, perhaps just then
            time.sleep(idle)
            with client(server) as sdk:
                raw = sdk.chat.completions.with_raw_response.create(**ask(max_tokens=1))
            assert raw.headers["x-lockgate-attempts"] == "1"

    def test_requests_one_after_another_share_a_connection(self, server: Gateway) -> None:
        until(server.is_idle)
        for _ in range(4):
            assert post(server, ask(max_tokens=2)).status_code == 200

        opened = server.metrics()['lockgate_upstream_connections{state="open"}']
        assert opened == 1
