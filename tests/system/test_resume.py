"""A replica dies in the midst of its answers, and their readers do not notice."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.simulator.answer import Model
from gateway.simulator.chat import chat_reply
from gateway.simulator.dialect import ChatBody
from tests.system.world import (
    KEY,
    OPERATOR,
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    data,
    gateway,
    post,
    settings,
    simulator,
    until,
)

TOKENS = 120
"""Of an answer."""
READERS = 24
"""Of each of the two models."""
KINDS = ("cut", "reset", "stall", "no_done", "garbage", "error_event", "abort")


@dataclass
class World:
    """Two replicas and the gateway before them; `first` is asked first."""

    first: Simulator
    second: Simulator
    gateway: Gateway

    def rows(self) -> dict[str, Json]:
        """The ledger's rows, by request."""
        url = f"{self.gateway.url}/admin/v1/ledger"
        told = ask("GET", url, params={"limit": 1000}, headers=bearer(OPERATOR))
        return {each["request_id"]: each for each in told.raise_for_status().json()["data"]}

    def row(self, request_id: str) -> Json:
        """The row of that request, as soon as it is there."""
        until(lambda: request_id in self.rows(), within=20)
        return self.rows()[request_id]


def configuration(first: Simulator, second: Simulator) -> Json:
    config = settings(
        {"a": first.url, "b": second.url},
        model={"resume": True, "timeouts": {"stall": "500ms"}},
        ledger={"flush": 0.2},
    )
    config["models"]["plain"] = {**config["models"]["chat"], "resume": False}
    return config


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("resume")
    with (
        simulator(folder) as first,
        simulator(folder) as second,
        gateway(folder, configuration(first, second)) as process,
    ):
        yield World(first, second, process)


@pytest.fixture(autouse=True)
def _sane(request: pytest.FixtureRequest) -> None:
    if "world" in request.fixturenames:
        world: World = request.getfixturevalue("world")
        world.first.fresh()
        world.second.fresh()


def uncut(prompt: str, *, tokens: int = 32, cap: int = 512) -> str:
    """What a replica says if nothing happens to it."""
    messages = [{"role": "user", "content": prompt}]
    body = ChatBody.model_validate({"messages": messages, "max_tokens": cap})
    model = Model(seed=0, answer_tokens=tokens, max_model_len=32768)
    reply = chat_reply(body, model=model, name="m", reply_id="r", created=0)
    return reply.choices[0].text


def sdk(world: World) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=KEY, max_retries=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sdk_reads_one_answer_however_it_breaks_off(world: World, kind: str) -> None:
    with sdk(world) as client:
        for after in (2, 5, 11) if kind != "stall" else (4,):
            prompt = f"{kind} {after}"
            world.first.faults({"kind": kind, "after": after})
            stream = client.chat.completions.create(
                model="chat",
                messages=[{"role": "user", "content": prompt}],
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = list(stream)

            text = [each.choices[0].delta.content or "" for each in chunks if each.choices]
            assert "".join(text) == uncut(prompt)
            assert len({(each.id, each.created, each.model) for each in chunks}) == 1
            roles = [each.choices[0].delta.role for each in chunks if each.choices]
            assert roles.count("assistant") == 1
            ends = [each.choices[0].finish_reason for each in chunks if each.choices]
            assert [each for each in ends if each] == ["stop"]
            assert [each.usage is not None for each in chunks] == [False] * len(ends) + [True]
            last = chunks[-1].usage
            assert last is not None
            assert last.completion_tokens == 32
            assert len(world.second.requests()) > 0


def test_the_sdk_reads_a_completion_that_broke_off(world: World) -> None:
    asked: dict[str, Any] = {"model": "chat", "prompt": "A lock gate", "max_tokens": 20}
    with sdk(world) as client:
        whole = client.completions.create(**asked).choices[0].text
        for after in (1, 7, 19):
            world.first.faults({"kind": "cut", "after": after, "mid_event": True})
            chunks = list(client.completions.create(**asked, stream=True))

            assert "".join(each.choices[0].text for each in chunks) == whole
            assert chunks[-1].choices[0].finish_reason == "length"
            assert len({each.id for each in chunks}) == 1


@pytest.mark.parametrize("cap", [12, 31, 32])
def test_the_whole_is_no_longer_than_it_may_be(world: World, cap: int) -> None:
    world.first.faults({"kind": "cut", "after": 8})
    with sdk(world) as client:
        stream = client.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "Hello!"}],
            stream=True,
            max_tokens=cap,
        )
        chunks = list(stream)

    text = "".join(each.choices[0].delta.content or "" for each in chunks)
    assert text == uncut("Hello!", cap=cap)
    assert chunks[-1].choices[0].finish_reason == ("stop" if cap == 32 else "length")


def test_what_could_not_be_exact_breaks_off_as_ever(world: World) -> None:
    world.first.faults({"kind": "cut", "after": 5})
    for fields in ({"stop": ["never said"]}, {"n": 2}, {"seed": 7}, {"model": "plain"}):
        hello = [{"role": "user", "content": "Hello!"}]
        answer = post(world.gateway, {"model": "chat", "messages": hello, "stream": True, **fields})

        events = data(answer.text)
        assert json.loads(events[-1])["error"]["code"] == "upstream_disconnected"
        assert not any(b"usage" in each.encode() for each in events)
        row = world.row(answer.headers["x-request-id"])
        assert (row["outcome"], len(row["attempts"])) == ("cut", 1)
    assert world.second.requests() == []


def test_the_ledger_tells_of_both_attempts(world: World) -> None:
    world.first.faults({"kind": "reset", "after": 9})
    answer = post(
        world.gateway,
        {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
    )

    row = world.row(answer.headers["x-request-id"])

    assert (row["outcome"], row["target"]) == ("ok", "b/demo-model")
    assert row["usage_source"] == "measured"
    assert row["completion_tokens"] == 32
    assert [(each["target"], each.get("error")) for each in row["attempts"]] == [
        ("a/demo-model", "upstream_disconnected"),
        ("b/demo-model", None),
    ]
    until(world.gateway.is_idle)


@dataclass
class Reader:
    """One client that reads a stream to its end."""

    model: str
    prompt: str
    request_id: str = ""
    text: str = ""
    deltas: int = 0
    ended: str = ""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    usage: Json = field(default_factory=dict)

    async def read(self, client: httpx.AsyncClient) -> None:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            self.request_id = answer.headers["x-request-id"]
            async for line in answer.aiter_lines():
                if line:
                    self._take(line.removeprefix("data: "))

    def _take(self, told: str) -> None:
        if told == "[DONE]":
            self.ended = "done"
            return
        event = json.loads(told)
        if "error" in event:
            self.ended = event["error"]["code"]
            return
        self.usage = event.get("usage") or self.usage
        for choice in event["choices"]:
            self.text += choice["delta"].get("content") or ""
            self.deltas += 1
        if self.deltas > 2:
            self.begun.set()


def test_a_replica_that_is_killed_leaves_every_reader_its_whole_answer(tmp_path: Path) -> None:
    slowly = ("--tokens-per-second", "80", "--answer-tokens", str(TOKENS))
    readers = [
        Reader(model, f"Reader {number}")
        for number in range(READERS)
        for model in ("chat", "plain")
    ]
    with (
        simulator(tmp_path, *slowly) as first,
        simulator(tmp_path, *slowly) as second,
        gateway(tmp_path, configuration(first, second)) as process,
    ):
        asyncio.run(_kill_among(first, process, readers))
        world = World(first, second, process)
        until(lambda: world.rows().keys() >= {each.request_id for each in readers}, within=20)
        rows = world.rows()
        until(process.is_idle, within=20)

    resumed = 0
    for each in readers:
        row, whole = rows[each.request_id], uncut(each.prompt, tokens=TOKENS)
        assert row["completion_tokens"] == (TOKENS if each.ended == "done" else each.deltas - 1)
        if each.model == "plain" and each.ended != "done":
            assert each.ended == "upstream_disconnected"
            assert whole.startswith(each.text)
            assert (row["outcome"], len(row["attempts"])) == ("cut", 1)
            continue
        assert (each.text, each.ended, row["outcome"]) == (whole, "done", "ok")
        assert each.usage["completion_tokens"] == TOKENS
        assert each.usage["prompt_tokens"] == row["prompt_tokens"]
        assert len(row["attempts"]) <= (2 if each.model == "chat" else 1)
        resumed += len(row["attempts"]) == 2
    assert resumed > 0


async def _kill_among(victim: Simulator, process: Gateway, readers: list[Reader]) -> None:
    """Let all of them read; the replica dies as soon as everyone has begun."""

    async def kill() -> None:
        for each in readers:
            await each.begun.wait()
        victim.process.kill()

    limits = httpx.Limits(max_connections=len(readers))
    async with (
        httpx.AsyncClient(
            base_url=process.url, headers=bearer(), timeout=60, limits=limits
        ) as client,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(kill())
        for each in readers:
            tasks.create_task(each.read(client))
