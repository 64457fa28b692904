import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from gateway.app import Gateway
from gateway.inbound.edge import Edge
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    CONFIG,
    bearer,
    built,
    client,
    exchanged,
    listening,
)
from tests.support.simulator import running_simulator

PAGE = "https://app.example.com"
ASKS = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
OTHER_PATHS = [
    "/v1/chat/completions/",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions/..",
    "/v1/./chat/completions",
    "/v1/%2e%2e/v1/chat/completions",
    "/v1/%2E/chat/completions",
    "/v1%2fchat%2fcompletions",
    "/v1%2fchat%2fcompletions%2f",
    "/v1/%63hat/completions",
    "/V1/chat/completions",
    "/v1/chat/Completions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat/completions;x=1",
    "/v1/chat",
    "/chat/completions",
]


class Named:
    """An application that tells its name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "post"])
async def test_only_a_post_to_an_exact_path_is_inference(method: str) -> None:
    inference, rest = Named(), Named()
    edge = Edge({CHAT_PATH: inference}, rest)

    other = await exchanged(edge, b"", method=method)
    await exchanged(edge, b"", path=CHAT_PATH + "/")
    await exchanged(edge, b"", path=CHAT_PATH)

    assert (other.status, other.headers["allow"]) == (405, "POST")
    assert other.headers["x-request-id"]
    assert orjson.loads(other.body)["error"]["code"] == "method_not_allowed"
    assert rest.asked == [CHAT_PATH + "/"]
    assert inference.asked == [CHAT_PATH]


async def test_over_a_socket_no_other_spelling_of_a_path_reaches_inference(
    tmp_path: Path,
) -> None:
    gateway = await asyncio.to_thread(built, tmp_path)
    begun: list[str] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["type"])
        await gateway(scope, receive, send)

    async with listening(noting) as url:
        host, port = url.removeprefix("http://").split(":")
        statuses = [await _status(host, int(port), path) for path in OTHER_PATHS]
        inference = await _status(host, int(port), CHAT_PATH)

    assert statuses == [404] * len(OTHER_PATHS)
    assert inference == 401
    assert begun == ["lifespan", *["http"] * (len(OTHER_PATHS) + 1)]


async def _status(host: str, port: int, path: str) -> int:
    """The status of a POST to a path that no client has tidied up, without a key."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}".encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


async def test_a_fault_of_the_rest_is_logged_and_goes_no_further() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("particulars")

    structlog.reset_defaults()
    with capture_logs() as logged:
        exchange = await exchanged(Edge({}, failing), path="/metrics", method="GET")

    assert exchange.sent == []
    assert [(line["event"], line["path"]) for line in logged] == [("request_failed", "/metrics")]


async def test_a_fault_of_the_lifespan_is_the_servers_to_know() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("particulars")

    edge: Any = Edge({}, failing)
    structlog.reset_defaults()
    with capture_logs(), pytest.raises(RuntimeError, match="particulars"):
        await edge({"type": "lifespan"}, None, None)


# Web pages


@pytest.fixture
def closed(tmp_path: Path) -> Gateway:
    return built(tmp_path)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    text = CONFIG + f"http: {{cors: {{origins: ['{PAGE}'], max_age: 60}}}}\n"
    async with running_simulator(answer_tokens=2) as sim:
        gateway = await asyncio.to_thread(built, tmp_path, text, sim=sim.url)
        async with client(gateway) as http:
            yield http


async def test_no_web_page_may_call_unless_the_configuration_says_so(closed: Gateway) -> None:
    async with client(closed) as http:
        preflight = await http.options(CHAT_PATH, headers=ASKS)
        answers = [
            preflight,
            await http.get("/v1/models", headers={"origin": PAGE}),
            await http.post(CHAT_PATH, content=b"{", headers={"origin": PAGE}),
        ]

    assert preflight.status_code == 405
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "vary" not in answer.headers


@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/embeddings", "/v1/models"])
async def test_a_page_that_may_call_is_told_so(opened: httpx.AsyncClient, path: str) -> None:
    preflight = await opened.options(path, headers=ASKS)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert preflight.headers["access-control-max-age"] == "60"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in preflight.headers


async def test_another_page_is_not(opened: httpx.AsyncClient) -> None:
    other = {**ASKS, "origin": "https://elsewhere.example.com"}

    preflight = await opened.options(CHAT_PATH, headers=other)
    answer = await opened.get("/v1/models", headers={"origin": other["origin"]})

    assert preflight.status_code == 400
    for each in (preflight, answer):
        assert "access-control-allow-origin" not in each.headers


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("POST", CHAT_PATH, orjson.dumps(CHAT), {}, 200),
        ("POST", CHAT_PATH, orjson.dumps({**CHAT, "stream": True}), {}, 200),
        ("POST", CHAT_PATH, b"{", {}, 400),
        ("POST", CHAT_PATH, b"{}", {"authorization": "Bearer x"}, 401),
        ("GET", "/v1/models", b"", {}, 200),
        ("GET", "/nowhere", b"", {}, 404),
        ("DELETE", "/v1/models", b"", {}, 405),
    ],
)
async def test_a_page_may_read_answers_and_errors_with_their_ids(
    opened: httpx.AsyncClient,
    method: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    answer = await opened.request(
        method, path, content=content, headers={**bearer(), "origin": PAGE, **headers}
    )

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    exposed = answer.headers["access-control-expose-headers"]
    assert {"x-request-id", "x-lockgate-model", "retry-after"} <= set(exposed.split(", "))
