"""Requests with an `Idempotency-Key`, through a whole gateway: run once, answered each time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import ASGIApp, Message, Scope

from gateway.app import Gateway
from gateway.contract.head import head_of
from gateway.idempotency import Claim, Idempotency, IdempotencySettings
from gateway.inbound.client_id import client_id_of
from gateway.inbound.replay import Copy, Once, key_of
from gateway.routing import Routes
from gateway.telemetry.record import Record
from tests.gateway.idempotency.conftest import claimed, kept, ticket
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    NARROW_KEY,
    Exchange,
    bearer,
    client,
    exchanged,
    raw,
    running,
)
from tests.support.pipeline import GOOD, pipeline_of
from tests.support.simulator import RunningSimulator, events, eventually, running_simulator

PATIENT = 30.0
"""Seconds in which what must come comes, on a machine that is busy."""

KEY = {"idempotency-key": "order-4711"}
STREAM = {**CHAT, "stream": True}
EMBEDDING = {"model": "chat", "input": "Hi"}
COMPLETION = {"model": "chat", "prompt": "Hi"}


@pytest.fixture
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(answer_tokens=20) as simulator:
        yield simulator


@pytest.fixture
async def gateway(sim: RunningSimulator, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path, sim=sim.url) as gateway:
        yield gateway


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client(gateway) as http:
        yield http


@contextmanager
def records(gateway: Gateway) -> Iterator[list[Record]]:
    """Of the requests that end meanwhile."""
    told: list[Record] = []

    class Listener:
        def began(self, operation: str) -> None: ...

        def finished(self, record: Record) -> None:
            told.append(record)

    pipeline = gateway.pipeline
    before = pipeline._observers
    pipeline._observers = (*before, Listener())
    yield told
    pipeline._observers = before


def asked(sim: RunningSimulator) -> int:
    """Requests that the upstream has seen."""
    return len([each for each in sim.requests() if each["method"] == "POST"])


class Leaver:
    """A client that sends all of its request, and is gone when `left` is set."""

    def __init__(self, app: ASGIApp, content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.left = asyncio.Event()
        self.sent: list[Message] = []
        self._app = app
        self._content: bytes | None = content
        self._headers = headers

    async def ask(self) -> None:
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT_PATH,
            "raw_path": CHAT_PATH.encode(),
            "query_string": b"",
            "headers": self._headers,
            "client": ("127.0.0.1", 1),
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        content, self._content = self._content, None
        if content is not None:
            return {"type": "http.request", "body": content}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.left.is_set():
            raise OSError("the client has left")
        self.sent.append(message)


async def test_a_request_is_claimed_by_the_configuration_that_it_began_with() -> None:
    bench = pipeline_of(GOOD)
    once = Once(Idempotency(IdempotencySettings()), CHAT_PATH)
    async with bench.request() as request:
        snapshot = bench.pipeline.snapshot
        bench.pipeline.snapshot = replace(snapshot, routes=Routes({}, {}))
        found = await once.claim(request, bench.caller, "chat", b"k", b"{}")

    assert isinstance(found, Claim)
    assert bench.record.model == "chat"


# The same answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT_PATH, CHAT),
        (CHAT_PATH, STREAM),
        ("/v1/completions", COMPLETION),
        ("/v1/completions", {**COMPLETION, "stream": True}),
        ("/v1/embeddings", EMBEDDING),
    ],
)
async def test_a_repeat_gets_the_same_bytes_and_no_upstream_hears_of_it(
    http: httpx.AsyncClient, sim: RunningSimulator, path: str, body: dict[str, Any]
) -> None:
    first = await http.post(path, json=body, headers=KEY)
    repeat = await http.post(path, json=body, headers=KEY)

    assert first.status_code == repeat.status_code == 200
    assert first.content == repeat.content
    assert asked(sim) == 1
    for name in ("content-type", "x-lockgate-model", "cache-control", "content-length"):
        assert first.headers.get(name) == repeat.headers.get(name)
    assert "idempotent-replayed" not in first.headers
    assert repeat.headers["idempotent-replayed"] == "true"
    assert repeat.headers["x-lockgate-original-request-id"] == first.headers["x-request-id"]
    assert repeat.headers["x-request-id"] != first.headers["x-request-id"]
    assert (first.headers["x-lockgate-attempts"], repeat.headers["x-lockgate-attempts"]) == (
        "1",
        "0",
    )
    assert len(repeat.headers.get_list("content-length")) <= 1


async def test_a_stream_that_is_given_again_is_whole(http: httpx.AsyncClient) -> None:
    await http.post(CHAT_PATH, json=STREAM, headers=KEY)
    repeat = await http.post(CHAT_PATH, json=STREAM, headers=KEY)

    told = events(repeat.text)
    assert told[-1] == "[DONE]"
    assert len(told) > 20
    assert {each["model"] for each in told[:-1]} == {"chat"}


async def test_repeats_that_race_the_first_run_once(
    http: httpx.AsyncClient, sim: RunningSimulator
) -> None:
    answers = await asyncio.gather(
        *(http.post(CHAT_PATH, json=CHAT, headers=KEY) for _ in range(50))
    )

    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    assert asked(sim) == 1
    assert len({each.headers["x-request-id"] for each in answers}) == 50


async def test_without_the_header_every_request_runs(
    http: httpx.AsyncClient, sim: RunningSimulator, gateway: Gateway
) -> None:
    for _ in range(3):
        await http.post(CHAT_PATH, json=CHAT)

    assert asked(sim) == 3
    assert len(gateway._stores.idempotency.table) == 0


async def test_a_repeat_reserves_nothing_and_has_a_record_without_an_attempt(
    http: httpx.AsyncClient, gateway: Gateway
) -> None:
    with records(gateway) as told:
        await http.post(CHAT_PATH, json=STREAM, headers=KEY)
        await http.post(CHAT_PATH, json=STREAM, headers=KEY)

    first, repeat = told
    assert (first.outcome, first.admitted, len(first.attempts)) == ("ok", True, 1)
    assert (repeat.outcome, repeat.admitted, len(repeat.attempts)) == ("ok", False, 0)
    assert (repeat.status, repeat.tenant, repeat.model, repeat.stream) == (
        200,
        "wide",
        "chat",
        True,
    )
    assert (repeat.prompt_tokens, repeat.completion_tokens, repeat.cost) == (0, 0, 0)


# Who may have it


async def test_another_tenant_under_the_same_key_and_body_gets_an_answer_of_its_own(
    http: httpx.AsyncClient, sim: RunningSimulator
) -> None:
    first = await http.post(CHAT_PATH, json=CHAT, headers=KEY)
    other = await http.post(CHAT_PATH, json=CHAT, headers=KEY | bearer(NARROW_KEY))

    assert asked(sim) == 2
    assert "idempotent-replayed" not in other.headers
    assert other.json()["id"] != first.json()["id"]


async def test_the_same_key_on_another_route_is_another_request(
    http: httpx.AsyncClient, sim: RunningSimulator
) -> None:
    assert (await http.post(CHAT_PATH, json=CHAT, headers=KEY)).status_code == 200
    assert (await http.post("/v1/completions", json=COMPLETION, headers=KEY)).status_code == 200
    assert asked(sim) == 2


@pytest.mark.parametrize(
    ("body", "secret", "status"),
    [
        (CHAT, "lg_nobody", 401),
        ({**CHAT, "model": "closed"}, NARROW_KEY, 404),
        ({**CHAT, "model": "../x"}, NARROW_KEY, 404),
    ],
)
async def test_nobody_gets_in_by_a_key_who_would_not_without_it(
    http: httpx.AsyncClient,
    gateway: Gateway,
    body: dict[str, Any],
    secret: str,
    status: int,
) -> None:
    for _ in range(2):
        refused = await http.post(CHAT_PATH, json=body, headers=KEY | bearer(secret))
        assert refused.status_code == status
    assert len(gateway._stores.idempotency.table) == 0


async def test_another_body_under_the_same_key_is_a_conflict(
    http: httpx.AsyncClient, sim: RunningSimulator
) -> None:
    await http.post(CHAT_PATH, json=CHAT, headers=KEY)
    refused = await http.post(CHAT_PATH, json={**CHAT, "seed": 1}, headers=KEY)

    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "idempotency_key_reused"
    assert refused.headers["x-should-retry"] == "false"
    assert asked(sim) == 1


@pytest.mark.parametrize("key", ["", " ", "two words", "ümlaut", "x" * 256, "tab\t"])
async def test_a_key_that_is_none_is_refused_and_the_header_is_named(
    gateway: Gateway, sim: RunningSimulator, key: str
) -> None:
    headers = [*raw(bearer()), (b"idempotency-key", key.encode())]
    refused = await exchanged(gateway, orjson.dumps(CHAT), headers=headers)

    assert refused.status == 400
    assert b"Idempotency-Key" in refused.body
    assert asked(sim) == 0


async def test_two_keys_are_refused(gateway: Gateway) -> None:
    headers = [*raw(bearer()), (b"idempotency-key", b"a"), (b"idempotency-key", b"a")]

    assert (await exchanged(gateway, orjson.dumps(CHAT), headers=headers)).status == 400


async def test_any_other_key_will_do(http: httpx.AsyncClient) -> None:
    for key in ("!", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~" * 255):
        headers = {"idempotency-key": key}
        assert (await http.post(CHAT_PATH, json=CHAT, headers=headers)).status_code == 200


# Which answers are final


async def test_a_refusal_that_the_upstream_would_repeat_is_an_answer(
    http: httpx.AsyncClient, sim: RunningSimulator, gateway: Gateway
) -> None:
    sim.faults({"kind": "status", "status": 400})
    with records(gateway) as told:
        first = await http.post(CHAT_PATH, json=STREAM, headers=KEY)
        sim.faults()
        repeat = await http.post(CHAT_PATH, json=STREAM, headers=KEY)

    assert first.status_code == repeat.status_code == 400
    assert first.content == repeat.content
    assert repeat.headers["idempotent-replayed"] == "true"
    for name in ("x-lockgate-error-source", "x-should-retry", "content-type"):
        assert first.headers[name] == repeat.headers[name]
    assert asked(sim) == 1
    assert {(each.outcome, each.status, each.error) for each in told} == {
        ("refused", 400, "upstream_rejected")
    }
    assert [len(each.attempts) for each in told] == [1, 0]


@pytest.mark.parametrize("status", [401, 404, 409, 429, 500, 503])
async def test_what_another_try_may_mend_is_not_kept(
    http: httpx.AsyncClient, gateway: Gateway, sim: RunningSimulator, status: int
) -> None:
    sim.faults({"kind": "status", "status": status})
    first = await http.post(CHAT_PATH, json=CHAT, headers=KEY)
    second = await http.post(CHAT_PATH, json=CHAT, headers=KEY)

    assert min(first.status_code, second.status_code) >= 400
    assert "idempotent-replayed" not in second.headers
    assert len(gateway._stores.idempotency.table) == 0


async def test_a_stream_that_was_cut_is_not_kept(
    http: httpx.AsyncClient, sim: RunningSimulator
) -> None:
    sim.faults({"kind": "cut", "after": 5})
    cut = await http.post(CHAT_PATH, json=STREAM, headers=KEY)
    assert "error" in events(cut.text)[-1]
    sim.faults()

    second = await http.post(CHAT_PATH, json=STREAM, headers=KEY)

    assert events(second.text)[-1] == "[DONE]"
    assert asked(sim) == 2


async def test_the_gateways_own_refusals_are_not_kept(
    http: httpx.AsyncClient, gateway: Gateway
) -> None:
    """They cost nobody anything, and what they refuse may be allowed by and by."""
    for model in ("closed", "inactive"):
        body = {**CHAT, "model": model, "n": 10_000}
        assert (await http.post(CHAT_PATH, json=body, headers=KEY)).status_code >= 400
    assert len(gateway._stores.idempotency.table) == 0


# Clients that leave


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_a_client_that_leaves_comes_back_to_the_answer_of_its_first_request(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    headers = [*raw(bearer()), *raw(KEY)]
    async with (
        running_simulator(answer_tokens=20, tokens_per_second=100) as sim,
        running(tmp_path, sim=sim.url) as gateway,
    ):
        with records(gateway) as told:
            leaver = Leaver(gateway, orjson.dumps(body), headers)
            left = asyncio.create_task(leaver.ask())
            await eventually(lambda: asked(sim) == 1, within=PATIENT)
            leaver.left.set()
            repeat = await exchanged(gateway, orjson.dumps(body), headers=headers)
            await left

    assert repeat.headers["idempotent-replayed"] == "true"
    assert asked(sim) == 1
    assert {each.outcome for each in told} == {"ok"}


async def test_one_that_only_waits_may_leave(gateway: Gateway, sim: RunningSimulator) -> None:
    sim.faults({"kind": "stall", "after": 3, "times": 1})
    headers = [*raw(bearer()), *raw(KEY)]
    content = orjson.dumps(STREAM)
    seen = Exchange()
    first = asyncio.create_task(exchanged(gateway, content, headers=headers, watched=seen))
    await eventually(lambda: len(seen.sent) > 1, within=PATIENT)

    with records(gateway) as told:
        leaver = Leaver(gateway, content, headers)
        leaver.left.set()
        async with asyncio.timeout(PATIENT):
            await leaver.ask()
        assert leaver.sent == []
        assert [each.outcome for each in told] == ["hung_up"]
        assert not first.done()
        gateway.cut()
        await first
        assert [each.error for each in told] == ["client_hung_up", "gateway_draining"]
    assert len(gateway._stores.idempotency.table) == 0


async def test_a_shutdown_ends_the_first_and_those_that_wait(
    gateway: Gateway, sim: RunningSimulator
) -> None:
    sim.faults({"kind": "stall", "after": 3, "times": 1})
    headers = [*raw(bearer()), *raw(KEY)]
    content = orjson.dumps(STREAM)
    seen = Exchange()
    first = asyncio.create_task(exchanged(gateway, content, headers=headers, watched=seen))
    await eventually(lambda: len(seen.sent) > 1, within=PATIENT)
    repeat = asyncio.create_task(exchanged(gateway, content, headers=headers))
    await eventually(lambda: gateway.pipeline.live == 2, within=PATIENT)
    await asyncio.sleep(0.1)  # it waits for the first

    gateway.cut()

    async with asyncio.timeout(PATIENT):
        assert b"gateway_draining" in (await first).body
        assert b"gateway_draining" in (await repeat).body
    assert asked(sim) == 1


# Its parts


async def test_a_client_that_has_left_does_not_end_the_copy() -> None:
    idempotency = Idempotency(IdempotencySettings())
    tried: list[Message] = []

    async def send(message: Message) -> None:
        tried.append(message)
        raise OSError("the client has left")

    async with await claimed(idempotency, ticket()) as claim:
        copy = Copy(claim, send)
        start = [(b"content-type", b"text/plain"), (b"x-request-id", b"first")]
        await copy({"type": "http.response.start", "status": 200, "headers": start})
        for piece in (b"ans", b"wer"):
            await copy({"type": "http.response.body", "body": piece, "more_body": True})
        await copy.keep("first")

    assert len(tried) == 1
    answer = await kept(idempotency, ticket())
    assert (answer.body, answer.headers) == (b"answer", ((b"content-type", b"text/plain"),))


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ([], ("", None)),
        ([(b"x-request-id", b"a")], ("a", None)),
        ([(b"x-client-request-id", b"b"), (b"x-request-id", b"a")], ("b", None)),
        ([(b"x-request-id", b"a"), (b"x-client-request-id", b"b")], ("b", None)),
        ([(b"x-client-request-id", b"no id"), (b"x-request-id", b"a")], ("a", None)),
        ([(b"idempotency-key", b"k"), (b"x-request-id", b"a")], ("a", b"k")),
        ([(b"idempotency-key", b"k"), (b"idempotency-key", b"k")], ("", b"")),
        ([(b"x-idempotency-key", b"k")], ("", None)),
    ],
)
def test_what_a_client_says_of_its_request_is_read(
    headers: list[tuple[bytes, bytes]], taken: tuple[str, bytes | None]
) -> None:
    head = head_of(headers)
    assert (client_id_of(head), key_of(head)) == taken


async def test_a_client_that_would_not_wait_gives_up_its_own_request_and_no_repeatable_one(
    tmp_path: Path,
) -> None:
    patience = {"x-stainless-read-timeout": "0.2"}
    async with (
        running_simulator(answer_tokens=20, tokens_per_second=40) as sim,
        running(tmp_path, sim=sim.url) as gateway,
        client(gateway) as http,
    ):
        impatient = await http.post(CHAT_PATH, json=CHAT, headers=patience)
        repeatable = await http.post(CHAT_PATH, json=CHAT, headers=patience | KEY)

    assert (impatient.status_code, repeatable.status_code) == (504, 200)
