import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import openai
import pytest

from gateway.app import Gateway
from tests.support.application import (
    NARROW_KEY,
    UNKNOWN_KEY,
    bearer,
    built,
    client,
    listening,
    running,
)

NAIVE = 'na\u00efve "chat"'
EVERY = ["chat", "org/other:latest", NAIVE, "closed"]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client(gateway) as http:
        yield http


async def listed(http: httpx.AsyncClient, key: str | None = None) -> list[str]:
    answer = await http.get("/v1/models", headers=bearer(key) if key else None)
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    return [model["id"] for model in answer.json()["data"]]


async def test_a_key_sees_what_it_may_use_of_what_has_an_active_provider(
    http: httpx.AsyncClient,
) -> None:
    assert await listed(http) == EVERY
    assert await listed(http, NARROW_KEY) == ["chat", "org/other:latest"]


async def test_a_model_says_whose_it_is_and_a_date(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/models/org/other:latest")

    model = answer.json()
    assert model.keys() == {"id", "object", "created", "owned_by"}
    assert (model["id"], model["object"]) == ("org/other:latest", "model")
    assert model["owned_by"] == "somebody"
    assert 0 <= datetime.now(UTC).timestamp() - model["created"] < 100


@pytest.mark.parametrize(
    "path",
    ["org/other:latest", "org%2Fother%3Alatest", "org/other%3alatest", "org%2fother:latest"],
)
async def test_a_models_id_may_hold_slashes_and_colons_encoded_or_not(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.get(f"/v1/models/{path}")

    assert answer.status_code == 200
    assert answer.json()["id"] == "org/other:latest"


async def test_a_forbidden_an_inactive_and_an_unknown_model_are_told_alike(
    http: httpx.AsyncClient,
) -> None:
    answers = [
        await http.get(f"/v1/models/{model}", headers=bearer(NARROW_KEY))
        for model in ("closed", "inactive", "no-such", "org/other", "chat/", "%00", "..%2fchat", "")
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    heads = [
        {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
        for answer in answers
    ]
    assert all(head == heads[0] for head in heads)
    assert answers[0].json()["error"]["code"] == "model_not_found"


async def test_an_inactive_model_is_hidden_from_those_who_may_use_it(
    http: httpx.AsyncClient,
) -> None:
    assert (await http.get("/v1/models/inactive")).status_code == 404


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/chat", "/v1/models/no-such"])
async def test_without_a_key_nothing_is_told(http: httpx.AsyncClient, path: str) -> None:
    answers = [
        await http.get(path, headers={"authorization": value})
        for value in ("", bearer(UNKNOWN_KEY)["authorization"], "Bearer nonsense")
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


async def test_openais_sdk_lists_and_finds_models(tmp_path: Path) -> None:
    async with (
        listening(await asyncio.to_thread(built, tmp_path)) as url,
        openai.AsyncOpenAI(api_key=NARROW_KEY, base_url=f"{url}/v1", max_retries=0) as sdk,
    ):
        assert [model.id async for model in sdk.models.list()] == ["chat", "org/other:latest"]
        assert (await sdk.models.retrieve("org/other:latest")).owned_by == "somebody"
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("closed")
