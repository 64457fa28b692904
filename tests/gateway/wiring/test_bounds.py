"""What the page says is bounded is taken up to there, and one more is not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from gateway.config import ConfigError
from gateway.config.document import read
from gateway.contract.chat import CHAT
from gateway.contract.errors import GatewayError, ProviderError
from gateway.contract.head import head_of
from gateway.contract.sse import SSEDecoder
from gateway.inbound.addresses import ClientAddresses
from gateway.inbound.body import read_body
from gateway.inbound.bounded import BodyRefused, BoundedReceive
from gateway.inbound.hops import HEADER, hops_of
from gateway.inbound.parse import parse
from gateway.inbound.replay import check_key
from gateway.inbound.settings import HttpSettings
from gateway.inbound.tags import tags_of
from gateway.pipeline.events import EventStream, Tally
from gateway.server.framing import size_of
from gateway.telemetry.context import caller_of
from gateway.telemetry.redaction import Redaction
from gateway.upstream import UpstreamAnswer
from gateway.wiring import bounds
from providers.reader import StreamReader
from providers.refusal import Refusals
from tests.fuzz.response import exchanged
from tests.support.arriving import Arriving
from tests.support.wire import Seen, Wire, statuses

ALL = [*bounds.REQUESTS, *bounds.ANSWERS, *bounds.OTHERS]
TRIED_ELSEWHERE = {"ratio"}
"""In the tests of `decoding`: what a bomb becomes is not to be had to the byte."""
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except (GatewayError, ProviderError, ConfigError, BodyRefused):
        return True
    return False


# Requests, over a wire


class Slow(Seen):
    """Answers nobody before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go.wait()
        await super().__call__(scope, receive, send)


async def answered(*pieces: bytes) -> list[int]:
    """Statuses; nothing is answered before all of it was sent."""
    app = Slow()
    wire = Wire(app)
    wire.say(*pieces)
    app.go.set()
    await wire.settled()
    wire.leave()
    await wire.settled()
    return list(statuses(wire.heard))


def are_taken(*pieces: bytes) -> bool:
    found = asyncio.run(answered(*pieces))
    assert found
    return set(found) == {204}


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def head(size: int) -> bool:
    rest = size - size_of(b"/", [(b"host", b"a"), (b"x", b"")])
    return are_taken(GET + b"X: " + b"a" * rest + b"\r\n\r\n")


def headers(count: int) -> bool:
    return are_taken(GET + b"X: a\r\n" * (count - 1) + b"\r\n")


def ahead(count: int) -> bool:
    return are_taken((GET + b"\r\n") * (1 + count))


def ahead_bytes(size: int) -> bool:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %08d\r\n\r\n"
    length = size - len(post % 0)
    return are_taken(GET + b"\r\n", post % length, b"a" * length)


async def _received(content: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": False}


def body(size: int) -> bool:
    most = HttpSettings().max_body
    reading = read_body(
        lambda: _received(b"a" * size), {}, lambda _: None, max_body=most, patience=9
    )
    return not refused(lambda: asyncio.run(reading))


def other_body(size: int) -> bool:
    receive = BoundedReceive(lambda: _received(b"a" * size), [], HttpSettings())
    return not refused(lambda: asyncio.run(receive()))


# Requests, read


def chat(unknown: Any) -> bool:
    messages = [{"role": "user", "content": "hi"}]
    content = orjson.dumps({"model": "m", "messages": messages, "x": unknown})
    return not refused(lambda: parse(content, CHAT))


def depth(levels: int) -> bool:
    nested: list[Any] = []
    for _ in range(levels - 2):
        nested = [nested]
    return chat(nested)


def nodes(count: int) -> bool:
    return chat([[]] * (count - 4))  # the body, its messages, one of them, and this list


def tags(count: int) -> bool:
    told = b",".join(b"t%d=x" % number for number in range(count))
    return not refused(lambda: tags_of(head_of([(b"x-lockgate-tags", told)])))


def tags_header(size: int) -> bool:
    told = b"a=b".ljust(size)
    return not refused(lambda: tags_of(head_of([(b"x-lockgate-tags", told)])))


def key(length: int) -> bool:
    return not refused(lambda: check_key(b"k" * length))


def hops(count: int) -> bool:
    return not refused(lambda: hops_of(head_of([(HEADER, b"%d" % count)])))


def proxies(count: int) -> bool:
    """The first entry is the client, and every other one a trusted proxy's; so is the peer."""
    told = b"1.2.3.4" + b",10.0.0.1" * (count - 1)
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", told)]}
    return ClientAddresses(["10.0.0.0/8"])(scope) == "1.2.3.4"


def state(length: int) -> bool:
    member = b"a=" + b"b" * 254
    told = b",".join([member, member.replace(b"a", b"c", 1)])[:length].ljust(length, b" ")
    told = told if length < 513 else b"d=1," + told[:-4]
    trace = caller_of(head_of([(b"traceparent", TRACE), (b"tracestate", told)]))
    return trace is not None and bool(trace.state)


# Answers


def answer_head(size: int) -> bool:
    name = b"x: "
    wire = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
    rest = size - len(b"content-length0") - 4 - len(b"x") - 4
    wire += name + b"a" * rest + b"\r\n\r\n"
    pieces = [wire[at : at + 60_000] for at in range(0, len(wire), 60_000)]
    return not asyncio.run(exchanged(pieces)).error


def answer_headers(count: int) -> bool:
    wire = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + b"x: a\r\n" * (count - 1) + b"\r\n"
    return not asyncio.run(exchanged([wire])).error


def informational(count: int) -> bool:
    wire = (
        b"HTTP/1.1 100 Continue\r\n\r\n" * count + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    )
    return not asyncio.run(exchanged([wire])).error


async def _arriving(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def reads(most: int) -> Callable[[int], bool]:
    def is_read(size: int) -> bool:
        answer = UpstreamAnswer(Arriving([b"a" * size]))
        return not refused(lambda: asyncio.run(answer.read(most)))

    return is_read


def event(size: int) -> bool:
    return not refused(lambda: SSEDecoder().feed(b"data: " + b"a" * (size - 8) + b"\n\n"))


CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


def is_waited_for(*silence: bytes) -> bool:
    reader = StreamReader(Refusals(()).of_event)
    stream = EventStream(_arriving(*silence, CONTENT), reader, Tally())
    most = next(each.most for each in ALL if each.name == "held")
    return not refused(lambda: asyncio.run(_until(stream, most)))


async def _until(stream: EventStream, most: int) -> None:
    await stream.until_content(most)


def held(size: int) -> bool:
    comments = size - len(CONTENT)
    half = comments // 2
    return is_waited_for(
        *(b":".ljust(each - 2, b"x") + b"\n\n" for each in (half, comments - half))
    )


def barren(count: int) -> bool:
    return is_waited_for(b":\n\n" * (count - 1))


# Others


def file(size: int) -> bool:
    return not refused(lambda: read(b"a: 1\n".ljust(size, b"#"), "file", {}))


def levels(count: int) -> bool:
    """The value itself is a level, too."""
    inside = count - 2
    return not refused(lambda: read(b"a: " + b"[" * inside + b"1" + b"]" * inside, "file", {}))


def field(size: int) -> bool:
    return len(Redaction().text("a" * size)) == size


PROBES: dict[str, Callable[[int], bool]] = {
    "head": head,
    "headers": headers,
    "ahead": ahead,
    "ahead-bytes": ahead_bytes,
    "body": body,
    "other-body": other_body,
    "depth": depth,
    "nodes": nodes,
    "tags": tags,
    "tags-header": tags_header,
    "key": key,
    "hops": hops,
    "proxies": proxies,
    "state": state,
    "answer-head": answer_head,
    "answer-headers": answer_headers,
    "informational": informational,
    "whole": reads(bounds.MAX_WHOLE),
    "refusal": reads(bounds.MAX_ERROR),
    "event": event,
    "held": held,
    "barren": barren,
    "file": file,
    "levels": levels,
    "field": field,
}
"""Whether so much of it is taken."""


def test_every_bound_is_tried() -> None:
    assert {bound.name for bound in ALL} == {*PROBES} | TRIED_ELSEWHERE
    assert len({bound.name for bound in ALL}) == len(ALL)


@pytest.mark.parametrize("bound", [b for b in ALL if b.name in PROBES], ids=lambda b: b.name)
def test_as_much_as_the_bound_is_taken_and_one_more_is_not(bound: bounds.Bound) -> None:
    is_taken = PROBES[bound.name]

    assert is_taken(bound.most)
    assert not is_taken(bound.most + 1)


def test_every_bound_is_on_the_page() -> None:
    page = bounds.page()

    for bound in ALL:
        assert f"| {bound.what} | {bound.most:,}" in page
