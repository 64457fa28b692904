from typing import Any

import pytest

from gateway.simulator.errors import Refused
from gateway.simulator.exchange import MAX_BODY, Exchange
from gateway.simulator.link import HungUp


class _Link:
    gone = False


class Wire:
    """ASGI's two callables, with the messages that are to come and those that went."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[Any] = []
        self.link = _Link()

    async def receive(self) -> dict[str, Any]:
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def exchange(self) -> Exchange:
        scope: dict[str, Any] = {
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "client": None,
            "headers": [],
            "state": {"link": self.link},
        }
        return Exchange(scope, self.receive, self.send)


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_joined_from_its_parts() -> None:
    assert await Wire(part(b"a", more=True), part(b"b", more=False)).exchange().body() == b"ab"


async def test_a_client_that_leaves_while_it_sends_has_hung_up() -> None:
    with pytest.raises(HungUp):
        await Wire(part(b"a", more=True), {"type": "http.disconnect"}).exchange().body()


async def test_a_body_without_end_is_refused() -> None:
    half = part(bytes(MAX_BODY // 2 + 1), more=True)

    with pytest.raises(Refused) as caught:
        await Wire(half, half, half).exchange().body()
    assert caught.value.status == 413


async def test_a_whole_answer_states_its_length() -> None:
    wire = Wire()
    exchange = wire.exchange()

    await exchange.whole(200, b"{}", headers=[(b"retry-after", b"1")])

    assert exchange.status == 200
    assert (b"content-length", b"2") in wire.sent[0]["headers"]
    assert (b"retry-after", b"1") in wire.sent[0]["headers"]
    assert wire.sent[1] == {"type": "http.response.body", "body": b"{}", "more_body": False}


async def test_writing_to_a_client_that_left_says_so() -> None:
    wire = Wire()
    wire.link.gone = True

    with pytest.raises(HungUp):
        await wire.exchange().write(b"x")
    with pytest.raises(HungUp):
        await wire.exchange().whole(200, b"x")
    assert wire.exchange().status == 0
