import json
from typing import Any

import orjson
import pytest
from starlette.types import Message

from gateway.contract.errors import (
    Draining,
    ProviderDisconnected,
    ProviderError,
    ProviderGarbled,
    UnknownModel,
)
from gateway.contract.provider import Seen, UpstreamRequest
from gateway.contract.sse import SSEDecoder
from gateway.inbound.relay import Relay
from gateway.pipeline import Mould, Piece, Streamed, Whole
from tests.support.application import CHAT, CHAT_PATH, bearer, exchanged, raw, running
from tests.support.simulator import events, running_simulator

SENT = UpstreamRequest("http://upstream", (), b"")
HIDING = UpstreamRequest("http://upstream", (), b"", injected_usage=True)
OWN = [(b"x-request-id", b"01J")]


def pieces(*payloads: dict[str, Any] | None) -> list[Piece]:
    """Events as they are read: an object each, None for `[DONE]`."""
    raw_events = b"".join(
        b"data: " + (b"[DONE]" if each is None else orjson.dumps(each)) + b"\n\n"
        for each in payloads
    )
    read = SSEDecoder().feed(raw_events)
    return [(raw, Seen(payload=each)) for (raw, _), each in zip(read, payloads, strict=True)]


def chunk(text: str, **more: Any) -> dict[str, Any]:
    return {"id": "1", "model": "up", "choices": [{"delta": {"content": text}}], **more}


class Rest:
    """What is still to come of a stream: batches, then its end or its error."""

    def __init__(self, *batches: list[Piece], error: ProviderError | None = None) -> None:
        self._batches = list(batches)
        self._error = error

    @property
    def done(self) -> bool:
        return not self._batches and self._error is None

    async def next(self, _: Mould | None = None, /) -> list[Piece]:
        if self._batches:
            return self._batches.pop(0)
        if self._error is not None:
            raise self._error
        return []


class Client:
    """Keeps what it is sent, and holds it to ASGI's order."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.relay = Relay(self._send)

    async def _send(self, message: Message) -> None:
        if self.sent:
            assert message["type"] == "http.response.body"
            assert len(self.sent) == 1 or self.sent[-1]["more_body"], "nothing follows the end"
        else:
            assert message["type"] == "http.response.start"
        self.sent.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [each["body"] for each in self.sent[1:]]

    @property
    def content(self) -> bytes:
        return b"".join(self.bodies)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def is_over(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", True)


def streamed(
    held: list[Piece], *rest: list[Piece], error: ProviderError | None = None, hiding: bool = False
) -> Streamed:
    stream: Any = Rest(*rest, error=error)
    return Streamed(HIDING if hiding else SENT, held, stream)


async def test_a_whole_answer_is_one_response_with_its_length() -> None:
    client = Client()
    content = b'{"model":"up","x":1}'

    await client.relay.answer(Whole(SENT, content, Seen(payload={"model": "up"})), "chat", OWN)

    assert client.content == b'{"model":"chat","x":1}'
    assert client.is_over
    assert client.sent[0]["status"] == 200
    assert client.headers == [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(client.content)),
        *OWN,
    ]


async def test_a_stream_has_its_headers_and_no_length() -> None:
    client = Client()

    await client.relay.answer(streamed(pieces(chunk("a")), pieces(None)), "chat", OWN)

    assert client.headers == [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
        *OWN,
    ]
    assert client.is_over


async def test_the_events_of_one_read_go_out_in_one_message() -> None:
    client = Client()
    held, rest = pieces(chunk("a"), chunk("b"), chunk("c")), pieces(chunk("d"), chunk("e"), None)

    await client.relay.answer(streamed(held, rest), "chat", OWN)

    assert [body.count(b"\n\n") for body in client.bodies] == [3, 3]
    assert client.content.endswith(b"data: [DONE]\n\n")
    models = {event["model"] for event in events(client.content.decode()) if event != "[DONE]"}
    assert models == {"chat"}


async def test_nothing_is_sent_for_a_read_whose_events_are_all_hidden() -> None:
    client = Client()
    usage = {"id": "1", "model": "up", "choices": [], "usage": {"total_tokens": 3}}

    await client.relay.answer(
        streamed(pieces(chunk("a", usage=None)), pieces(usage), pieces(None), hiding=True),
        "chat",
        OWN,
    )

    assert len(client.bodies) == 2  # the chunk, and the end marker
    assert b"usage" not in client.content


async def test_an_error_before_the_start_is_a_response_of_its_status() -> None:
    client = Client()

    await client.relay.error(UnknownModel(), OWN)

    assert client.sent[0]["status"] == 404
    assert json.loads(client.content)["error"]["code"] == "model_not_found"
    assert dict(client.headers)[b"content-length"] == b"%d" % len(client.content)
    assert client.is_over


async def test_an_error_after_the_start_is_the_last_event_and_no_end_marker_follows() -> None:
    client = Client()
    broken = streamed(pieces(chunk("a")), pieces(chunk("b")), error=ProviderDisconnected("theirs"))

    with pytest.raises(ProviderDisconnected) as raised:
        await client.relay.answer(broken, "chat", OWN)
    await client.relay.error(raised.value, OWN)

    *said, last = events(client.content.decode())
    assert [each["choices"][0]["delta"]["content"] for each in said] == ["a", "b"]
    assert last["error"]["code"] == "upstream_disconnected"
    assert b"[DONE]" not in client.content
    assert b"theirs" not in client.content
    assert client.is_over


async def test_nothing_follows_an_end() -> None:
    whole, stream, refused = Client(), Client(), Client()
    await whole.relay.answer(Whole(SENT, b"{}", Seen()), "chat", OWN)
    await stream.relay.answer(streamed(pieces(chunk("a")), pieces(None)), "chat", OWN)
    await refused.relay.error(UnknownModel(), OWN)

    for client in (whole, stream, refused):
        before = list(client.sent)
        await client.relay.error(Draining("too late"), OWN)
        assert client.sent == before


async def test_an_answer_that_can_not_be_renamed_is_an_error_before_the_start() -> None:
    client = Client()
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    payload = {"x": deep, "model": "up"}

    with pytest.raises(ProviderGarbled):
        await client.relay.answer(
            Whole(SENT, json.dumps(payload).encode(), Seen(payload=payload)), "chat", OWN
        )
    assert client.sent == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "status", "status": 500}, 502, "upstream_error"),
        ({"kind": "html"}, 502, "upstream_unexpected_content_type"),
        ({"kind": "cut", "after": 2}, 200, "upstream_disconnected"),
        ({"kind": "reset", "after": 2}, 200, "upstream_disconnected"),
        ({"kind": "garbage", "after": 2}, 200, "upstream_invalid_event"),
        ({"kind": "error_event", "after": 2}, 200, "upstream_error"),
        ({"kind": "no_done", "after": 2}, 200, "upstream_disconnected"),
        ({"kind": "abort", "after": 2}, 200, "upstream_aborted"),
    ],
)
async def test_whatever_an_upstream_does_there_is_one_outcome(
    tmp_path: Any, fault: dict[str, Any], status: int, code: str
) -> None:
    async with running_simulator(answer_tokens=8) as sim, running(tmp_path, sim=sim.url) as gateway:
        sim.faults(fault)
        exchange = await exchanged(gateway, orjson.dumps({**CHAT, "stream": True}))
        sim.faults()
        after = await exchanged(
            gateway, orjson.dumps({**CHAT, "stream": True}), headers=raw(bearer())
        )

    assert exchange.status == status
    if status == 200:
        *said, last = events(exchange.body.decode())
        assert said
        assert not [each for each in said if each == "[DONE]" or "error" in each]
    else:
        last = json.loads(exchange.body)
    assert last["error"]["code"] == code
    assert [each["more_body"] for each in exchange.sent[1:]].count(False) == 1
    assert after.body.endswith(b"data: [DONE]\n\n")
    assert after.headers["x-accel-buffering"] == "no"
    assert CHAT_PATH.encode() not in exchange.body
