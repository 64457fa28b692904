import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, Depends, FastAPI, Query
from structlog.testing import capture_logs

from gateway.contract.errors import LimitExceeded, UnknownModel
from gateway.gates import Anyone
from gateway.inbound.api import create_api
from gateway.inbound.edge import Edge
from tests.support.application import client

MAX = 300


@pytest.fixture
def api() -> FastAPI:
    router = APIRouter(dependencies=[Depends(Anyone())])

    @router.get("/number/{number}")
    async def number(number: int, least: Annotated[int, Query(ge=1)] = 1) -> int:
        return number + least

    @router.post("/body")
    async def body(body: dict[str, int]) -> dict[str, int]:
        return body

    @router.get("/unknown")
    async def unknown() -> None:
        raise UnknownModel

    @router.get("/limited")
    async def limited() -> None:
        raise LimitExceeded("later", measure="requests", retry_after=1.5)

    @router.get("/fault")
    async def fault() -> None:
        raise RuntimeError("the secret particulars")

    return create_api([router], docs=False)


@pytest.fixture
async def http(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(Edge({}, api), key=None) as http:
        yield http


def shaped(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert 0 < len(error["message"]) < MAX
    return error


async def test_a_path_that_does_not_exist_is_a_404_in_openais_shape(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.get("/nowhere")

    assert answer.status_code == 404
    assert shaped(answer)["code"] == "not_found"
    assert answer.headers["x-should-retry"] == "false"


async def test_a_method_that_does_not_exist_is_a_405_that_names_those_that_do(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.delete("/body")

    assert answer.status_code == 405
    assert shaped(answer)["type"] == "invalid_request_error"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("path", "param"),
    [("/number/x", "number"), ("/number/1?least=0", "least"), ("/number/1?least=", "least")],
)
async def test_a_parameter_that_does_not_fit_is_a_400_that_names_it(
    http: httpx.AsyncClient, path: str, param: str
) -> None:
    answer = await http.get(path)

    assert answer.status_code == 400
    assert shaped(answer)["param"] == param


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": "x"}', b"\xff", b'{"a": ' * 5000])
async def test_a_body_that_does_not_fit_is_a_400(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post("/body", content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    shaped(answer)


async def test_a_message_does_not_repeat_what_was_sent(http: httpx.AsyncClient) -> None:
    answer = await http.get("/number/" + "long" * 1000)

    assert "longlong" not in shaped(answer)["message"]


async def test_an_error_of_the_gateways_own_keeps_its_words_and_hints(
    http: httpx.AsyncClient,
) -> None:
    unknown, limited = await http.get("/unknown"), await http.get("/limited")

    assert unknown.status_code == 404
    assert shaped(unknown)["code"] == "model_not_found"
    assert limited.status_code == 429
    assert limited.headers["retry-after"] == "2"
    assert limited.headers["retry-after-ms"] == "1500"
    assert limited.headers["x-should-retry"] == "true"


async def test_a_fault_is_a_constant_for_the_client_and_told_in_full_to_the_log(
    http: httpx.AsyncClient,
) -> None:
    structlog.reset_defaults()
    with capture_logs() as logged:
        answer = await http.get("/fault")

    assert answer.status_code == 500
    assert shaped(answer) == {
        "message": "The gateway failed to handle this request.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
    assert "particulars" not in json.dumps([answer.text, dict(answer.headers)])
    assert logged == [
        {
            "event": "request_failed",
            "request_id": answer.headers["x-request-id"],
            "path": "/fault",
            "exc_info": True,
            "log_level": "error",
        }
    ]


async def test_no_path_is_redirected(http: httpx.AsyncClient) -> None:
    for path in ("/body/", "/unknown/", "//unknown"):
        assert (await http.get(path)).status_code == 404


def test_each_application_has_a_document_of_its_own_or_none(api: FastAPI) -> None:
    assert api.docs_url is api.openapi_url is api.redoc_url is None
    shown = create_api([], docs=True)
    assert (shown.docs_url, shown.openapi_url, shown.redoc_url) == ("/docs", "/openapi.json", None)
