"""Rows 13 to 15, 17 and 24: answers that are too much, or that make no sense."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.faulty import chunk, response
from tests.system.faults import answers
from tests.system.faults.answers import ROLE, SAID, TEXT, begun
from tests.system.faults.bench import PATIENCE, Bench
from tests.system.faults.upstreams import Reply, cut, forever
from tests.system.world import until

MIB = 1024 * 1024
NO_SENSE: dict[str, bytes] = {
    "not-json": b"data: {nonsense\n\n",
    "cut-json": b'data: {"choices": [\n\n',
    "an-array": b"data: []\n\n",
    "a-number": b"data: 7\n\n",
    "a-string": b'data: "DONE"\n\n',
    "nan": b'data: {"choices": NaN}\n\n',
    "not-utf-8": b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n',
    "half-a-surrogate": b'data: {"choices": [{"delta": {"content": "\\ud800"}}]}\n\n',
    "nested": b'data: {"choices": ' + b"[" * 100_000 + b"\n\n",
    "nested-well": b'data: {"a": ' + b"[" * 2000 + b"]" * 2000 + b', "choices": 7}\n\n',
    "choices-of-no-kind": b'data: {"choices": {"0": 1}}\n\n',
    "a-choice-of-no-kind": b'data: {"choices": ["Hi"]}\n\n',
    "an-index-of-no-kind": b'data: {"choices": [{"index": "0", "delta": {}}]}\n\n',
    "a-delta-of-no-kind": b'data: {"choices": [{"index": 0, "delta": "Hi"}]}\n\n',
    "an-end-of-no-kind": b'data: {"choices": [{"delta": {}, "finish_reason": 1}]}\n\n',
}


def test_13_an_event_that_makes_no_sense_ends_the_stream_with_an_error(world: Bench) -> None:
    cases: dict[str, Reply] = {
        name: answers.stream(ROLE, *SAID, data, answers.STOP, answers.DONE)
        for name, data in NO_SENSE.items()
    }
    world.a.says_each(cases)

    for name, told in world.ask_cases("ab", list(cases), stream=True).items():
        assert (told.status, told.attempts, told.code) == (200, 1, "upstream_invalid_event"), name
        assert len(told.events) == 2 + len(SAID)
        assert told.said == TEXT


def test_13_before_content_it_is_somebody_elses_answer(world: Bench) -> None:
    cases: dict[str, Reply] = {name: begun(ROLE, data) for name, data in NO_SENSE.items()}
    wholes = {
        name: response(data.removeprefix(b"data: "))
        for name, data in NO_SENSE.items()
        if name not in {"a-delta-of-no-kind", "an-index-of-no-kind"}
    }
    world.a.says_each(cases)
    streamed = world.ask_cases("ab", list(cases), stream=True)
    world.a.says_each(wholes)
    whole = world.ask_cases("ab", list(wholes))

    for name, told in (*streamed.items(), *whole.items()):
        assert (told.is_whole, told.attempts) == (True, 2), (name, told.text)
        record = world.record(told)
        assert record["attempts"][0]["error"] == "upstream_invalid_event", name


# Row 14


@contextmanager
def growing_by_at_most(world: Bench, size: int) -> Iterator[None]:
    """The peak of the gateway's memory meanwhile is no higher than that above what it was."""
    process = Path(f"/proc/{world.gateway.pid}")
    (process / "clear_refs").write_text("5")  # the peak is what it is now
    before = _status(process, "VmRSS")
    yield
    assert _status(process, "VmHWM") - before <= size


def _status(process: Path, name: str) -> int:
    lines = (process / "status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


X = b"x" * 64 * 1024
UNFRAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
ENDLESS: dict[str, bytes] = {
    "a-line-of-data": b"data: ",
    "a-comment": b":",
    "a-field": b"id: ",
    "no-line-at-all": b"",
}


def test_14_a_line_without_an_end_is_cut_and_the_upstream_closed(world: Bench) -> None:
    said = b"".join((ROLE, *SAID))
    for begins in ENDLESS.values():  # what it keeps once it has had one of each
        world.a.says(forever(UNFRAMED + said + begins, X))
        world.ask("ab", stream=True)

    with growing_by_at_most(world, 8 * MIB):
        for name, begins in ENDLESS.items():
            world.a.says(forever(UNFRAMED + said + begins, X))
            told = world.ask("ab", stream=True)
            assert (told.status, told.code) == (200, "upstream_event_too_large"), name
            assert told.said == TEXT
    until(lambda: world.a.server.live == 0, within=PATIENCE)


def test_14_before_content_it_is_somebody_elses_answer(world: Bench) -> None:
    cases: dict[str, Reply] = {
        name: forever(UNFRAMED + begins, X) for name, begins in ENDLESS.items()
    }
    cases["events-without-content"] = forever(UNFRAMED, ROLE * 100)
    cases["comments"] = forever(UNFRAMED, b":\n\n" * 10_000)
    world.a.says_each(cases)

    for name, told in world.ask_cases("ab", list(cases), stream=True).items():
        assert (told.is_whole, told.attempts) == (True, 2), name
    until(lambda: world.a.server.live == 0, within=PATIENCE)


# Row 15

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
GIGABYTE = JSON_HEAD + b"content-length: 1073741824\r\n\r\n"
CHUNKED = JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [(GIGABYTE, X), (CHUNKED, chunk(X)), (JSON_HEAD + b"\r\n", X)],
    ids=["announced", "chunked", "until_it_closes"],
)
def test_15_a_whole_answer_that_is_too_large_is_not_read_on(
    world: Bench, begins: bytes, goes_on: bytes
) -> None:
    world.a.says(forever(begins, goes_on))

    [alone, taken_over] = [world.ask("a"), world.ask("ab")]

    assert (alone.status, alone.code) == (502, "upstream_response_too_large")
    assert (taken_over.is_whole, taken_over.attempts) == (True, 2)
    until(lambda: world.a.server.live == 0, within=PATIENCE)


def test_15_an_answer_shorter_than_it_said_is_truncated(world: Bench) -> None:
    answer = answers.whole()
    cases: dict[str, Reply] = {str(at): cut(answer[:-at]) for at in (1, 2, 50, 200)}
    cases["nothing"] = cut(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    world.a.says_each(cases)

    for each in world.ask_cases("a", list(cases)).values():
        assert (each.status, each.code) == (502, "upstream_truncated")
        assert world.record(each)["completion_tokens"] == 0
    assert {each.is_whole for each in world.ask_cases("ab", list(cases)).values()} == {True}


def test_15_what_comes_after_an_answer_is_nobodys(world: Bench) -> None:
    """Were the connection used again, the next to be asked would get another's answer."""
    foreign = answers.whole("somebody else's answer")
    world.a.says(answers.whole() + foreign)

    told = [world.ask("a", stream=False) for _ in range(10)]

    assert {each.said for each in told} == {TEXT}
    assert world.a.server.accepted == 10


def test_15_an_answer_longer_than_it_said_is_none(world: Bench) -> None:
    head, _, content = answers.whole().partition(b"\r\n\r\n")
    short = head.replace(b"content-length: %d" % len(content), b"content-length: 20")
    world.a.says(short + b"\r\n\r\n" + content)

    told = [world.ask("a") for _ in range(5)]

    assert {(each.status, each.code) for each in told} == {(502, "upstream_invalid_event")}
    assert world.a.server.accepted == 5


# Row 17

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_HTTP: dict[str, Reply] = {
    "1xx-without-end": forever(CONTINUE, CONTINUE),
    "nine-1xx": CONTINUE * 9 + answers.whole(),
    "204": response(status="204 No Content"),
    "304": response(status="304 Not Modified"),
    "http-0.9": cut(b'{"choices": []}'),
    "http-2": b"HTTP/2 200 OK\r\n\r\n",
    "http-3.0": b"HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "ssh": cut(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "tls": cut(b"\x15\x03\x01\x00\x02\x02\x28"),
    "no-status": b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n",
    "status-9999": b"HTTP/1.1 9999 What\r\ncontent-length: 0\r\n\r\n",
    "header-of-1-mib": JSON_HEAD + b"x: " + b"x" * MIB + b"\r\n\r\n",
    "header-without-end": forever(JSON_HEAD + b"x: ", X),
    "10000-headers": JSON_HEAD + b"x: y\r\n" * 10_000 + b"\r\n",
    "headers-without-end": forever(JSON_HEAD, b"x: y\r\n" * 1000),
    "two-lengths": JSON_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "length-of-no-kind": JSON_HEAD + b"content-length: two\r\n\r\n{}",
    "length-below-zero": JSON_HEAD + b"content-length: -2\r\n\r\n{}",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_17_what_is_not_http_is_somebody_elses_answer(world: Bench, *, stream: bool) -> None:
    world.a.says_each(NO_HTTP)

    alone = world.ask_cases("a", list(NO_HTTP), stream=stream)
    taken_over = world.ask_cases("ab", list(NO_HTTP), stream=stream)

    for name in NO_HTTP:
        assert (alone[name].status, alone[name].code) == (502, "upstream_protocol_error"), name
        assert (taken_over[name].is_whole, taken_over[name].attempts) == (True, 2), name


def test_17_eight_informational_answers_are_borne(world: Bench) -> None:
    world.a.says(CONTINUE * 8 + answers.whole())

    assert world.ask("a").is_whole


# Row 24


def packed(content: bytes, encoding: str, content_type: str = "application/json") -> bytes:
    """An answer that is compressed, though nobody had asked for it."""
    wraps = {"gzip": 31, "deflate": 15}
    press = zlib.compressobj(wbits=wraps[encoding])
    headers = [("content-type", content_type), ("content-encoding", encoding)]
    return response(press.compress(content) + press.flush(), headers=headers)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_24_a_compressed_answer_is_read_as_it_was_meant(world: Bench, encoding: str) -> None:
    whole = answers.whole().partition(b"\r\n\r\n")[2]
    world.a.says(packed(whole, encoding))
    plain = world.ask("a")
    world.a.says(packed(b"".join(answers.STORY), encoding, "text/event-stream"))
    streamed = world.ask("a", stream=True)

    for told in (plain, streamed):
        assert (told.is_whole, told.said) == (True, TEXT)
        assert "content-encoding" not in told.headers


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_24_a_bomb_is_not_unpacked(world: Bench, *, stream: bool) -> None:
    kind = "text/event-stream" if stream else "application/json"
    content = (b"".join((ROLE, *SAID)) + b":" if stream else b'{"a": "') + b"a" * (64 * MIB)
    bomb = packed(content, "gzip", kind)
    world.a.says(bomb)
    world.ask("a", stream=stream)

    with growing_by_at_most(world, 8 * MIB):
        told = world.ask("a", stream=stream)

    assert told.code in {"upstream_response_too_large", "upstream_event_too_large"}


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "x"])
def test_24_a_compression_that_is_not_known_is_somebody_elses_answer(
    world: Bench, encoding: str
) -> None:
    headers = [("content-type", "application/json"), ("content-encoding", encoding)]
    world.a.says(response(gzip.compress(b"{}"), headers=headers))

    assert world.ask("a").code == "upstream_unexpected_encoding"
    assert world.ask("ab").attempts == 2
