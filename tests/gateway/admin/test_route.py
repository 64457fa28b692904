from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.types import Message

from gateway.admin.route import MAX_BODY, AdminRoute
from gateway.gates import Anyone
from gateway.inbound.api import create_api


class Sent(BaseModel):
    text: str
    more: str | None = None


def api() -> FastAPI:
    router = APIRouter(route_class=AdminRoute, dependencies=[Depends(Anyone())])

    @router.post("/echo")
    async def echo(sent: Sent) -> Sent:
        return sent

    def number(n: int = 0) -> int:
        return n

    @router.get("/numbers")
    async def numbers(n: Annotated[int, Depends(number)]) -> int:
        return n

    return create_api([router], docs=False, inference=())


async def posted(
    content: bytes | AsyncIterator[bytes], kind: str | None = "application/json"
) -> httpx.Response:
    transport = httpx.ASGITransport(api())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        headers = {} if kind is None else {"content-type": kind}
        return await http.post("/echo", content=content, headers=headers)


def sized(length: int) -> bytes:
    empty = b'{"text":""}'
    return empty[:-2] + b"x" * (length - len(empty)) + empty[-2:]


@pytest.mark.parametrize(("length", "status"), [(100, 200), (MAX_BODY, 200), (MAX_BODY + 1, 413)])
async def test_a_body_has_its_bound(length: int, status: int) -> None:
    answer = await posted(sized(length))

    assert answer.status_code == status
    if status == 413:
        assert answer.json()["error"]["code"] == "request_too_large"


async def test_a_body_without_end_is_refused_before_it_ends() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"text":"'
        while sent < 100 * MAX_BODY:
            sent += 65536
            yield b"x" * 65536

    answer = await posted(endless())

    assert answer.status_code == 413
    assert sent <= MAX_BODY + 65536


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 400),
        ("application/x-www-form-urlencoded", 400),
        ("text/plain", 400),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/merge-patch+json", 200),
    ],
)
async def test_a_body_says_that_it_is_json(kind: str | None, status: int) -> None:
    answer = await posted(b'{"text":"a"}', kind)

    assert answer.status_code == status
    if status == 400:
        error = answer.json()["error"]
        assert error["param"] == "content-type"
        assert "application/json" in error["message"]


@pytest.mark.parametrize(
    ("query", "status"), [("", 200), ("?n=1", 200), ("?n=1&m=2", 400), ("?N=1", 400)]
)
async def test_a_query_has_known_names_alone(query: str, status: int) -> None:
    transport = httpx.ASGITransport(api())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        answer = await http.get(f"/numbers{query}")

    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["param"] in {"m", "N"}


async def test_whoever_hangs_up_before_the_end_is_no_fault_of_ours() -> None:
    messages = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/echo",
        "headers": [(b"content-type", b"application/json")],
        "query_string": b"",
    }
    await api()(scope, receive, send)

    assert answered[0]["status"] == 400


async def test_what_has_no_value_is_left_out() -> None:
    assert (await posted(b'{"text":"a"}')).json() == {"text": "a"}
