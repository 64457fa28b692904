"""Rows 9 to 12 and 16: answers that end too soon, or come in pieces of any size."""

from random import Random

import pytest

from tests.support.faulty import chunk, chunked_head
from tests.support.toxic import Toxic
from tests.system.faults import answers
from tests.system.faults.answers import (
    DONE,
    HEAD,
    ROLE,
    SAID,
    STOP,
    STORY,
    TEXT,
    USAGE,
    begun,
    part,
)
from tests.system.faults.bench import AT_LENGTH, Bench, Told
from tests.system.faults.upstreams import Reply, cut, drip
from tests.system.world import Json

STREAM = b"".join(STORY)
BEFORE_CONTENT = 1
"""Events of the story that say nothing."""
UNFRAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
"""Of a body that ends with its connection: whoever reads it can't tell an end from a cut."""
WANTS_USAGE: Json = {"stream": True, "stream_options": {"include_usage": True}}


def assert_cut(told: Told, relayed: int, *, code: str = "upstream_disconnected") -> None:
    """Only so many of the story's events, then one error, and nothing else."""
    assert told.status == 200
    assert len(told.events) == relayed + 1
    assert all("error" not in each for each in told.events[:-1])
    assert told.said == "".join(TEXT_OF[:relayed])
    assert told.code == code


TEXT_OF = ("", *("Once", " upon", " a", " time", "."), "", "", "")
"""The text of each of the story's events."""


@pytest.mark.parametrize("rst", [False, True], ids=["09_with_fin", "11_with_rst"])
def test_09_11_dropped_on_an_event_boundary_is_an_error_and_no_success(
    world: Bench, *, rst: bool
) -> None:
    counts = range(len(STORY))
    world.a.says_each({str(count): cut(begun(*STORY[:count]), b"", rst=rst) for count in counts})

    told = world.ask_cases("ab", [str(count) for count in counts], **WANTS_USAGE)

    for count, each in enumerate(told.values()):
        record = world.record(each)
        if count <= BEFORE_CONTENT or (rst and each.attempts == 2):
            assert each.is_whole
            assert (each.attempts, record["outcome"]) == (2, "ok")
            assert record["attempts"][0]["error"] == "upstream_disconnected"
            continue
        # A reset may overtake what was sent before it.
        relayed = len(each.events) - 1 if rst else count
        assert_cut(each, relayed)
        assert relayed <= count
        assert (each.attempts, record["outcome"]) == (1, "cut")
        if USAGE in STORY[:relayed]:
            assert (record["usage_source"], record["completion_tokens"]) == ("measured", 5)
        else:
            assert (record["usage_source"], record["completion_tokens"]) == (
                "counted",
                min(relayed - BEFORE_CONTENT, len(SAID)),
            )


def test_10_dropped_inside_an_event_forwards_no_part_of_it(world: Bench) -> None:
    step = 1 if AT_LENGTH else 12
    offsets = range(0, len(STREAM) + 1, step)
    cases: dict[str, Reply] = {}
    for at in offsets:
        cases[f"framed-{at}"] = cut(HEAD + chunk(STREAM[:at]) if at else HEAD)
        cases[f"unframed-{at}"] = cut(UNFRAMED + STREAM[:at])
        if at % 48 == 0:  # health forgives much, but not that nothing ever succeeds
            cases[f"uncut-{at}"] = answers.stream()
    world.a.says_each(cases)

    told = world.ask_cases("ab", list(cases), **WANTS_USAGE)

    for case, each in told.items():
        framing, _, offset = case.partition("-")
        events, pending = _whole_events(STREAM if framing == "uncut" else STREAM[: int(offset)])
        is_over = events == len(STORY) or (
            framing == "unframed" and not pending and events >= STORY.index(STOP) + 1
        )
        if is_over or events <= BEFORE_CONTENT:
            assert (each.is_whole, each.attempts) == (True, 1 if is_over else 2), case
            assert each.said == TEXT
        else:
            assert_cut(each, events)


def _whole_events(data: bytes) -> tuple[int, bool]:
    """How many events are in there, and whether another has begun."""
    *events, rest = data.split(b"\n\n")
    return len(events), bool(rest)


def test_11_a_line_that_is_reset_mid_stream_is_an_error_wherever_it_was(world: Bench) -> None:
    told = []
    for count in range(250, 1150, 10 if AT_LENGTH else 150):
        world.line.toxic = Toxic(reset_after=count)
        told.append(world.ask("far-b", stream=True))

    for each in told:
        if each.attempts == 1:
            assert_cut(each, len(each.events) - 1)
        else:
            assert each.is_whole
    assert {each.attempts for each in told} == {1, 2}


# Row 12

UTF8 = part({"content": "@"}).replace(b"@", "Grüße, 水門 🚢".encode())
GOLDEN: dict[str, bytes] = {
    "lf": STREAM,
    "crlf": STREAM.replace(b"\n", b"\r\n"),
    "cr": STREAM.replace(b"\n", b"\r"),
    "bom": b"\xef\xbb\xbf" + STREAM,
    "comments": b": hello\n\n" + STREAM.replace(b"data", b": still here\n\ndata"),
    "many-lines": STREAM.replace(b'{"id"', b'{\ndata: "id"'),
    "fields": STREAM.replace(b"data", b"id: 1\nevent: message\nretry: 10\ndata"),
    "no-space": STREAM.replace(b"data: ", b"data:"),
    "utf-8": b"".join((ROLE, UTF8, STOP, DONE)),
}


def test_12_bytes_split_anywhere_mean_the_same(world: Bench) -> None:
    chance = Random(12)
    cases: dict[str, Reply] = {}
    for name, golden in GOLDEN.items():
        sent = HEAD + chunk(golden) + chunk(b"")
        cases[f"{name}/whole"] = sent
        cases[f"{name}/bytes"] = drip([bytes([each]) for each in sent])
        for turn in range(20 if AT_LENGTH else 2):
            cuts = sorted(chance.sample(range(1, len(sent)), 12))
            places = zip([0, *cuts], [*cuts, len(sent)], strict=True)
            cases[f"{name}/{turn}"] = drip([sent[one:other] for one, other in places])
    world.a.says_each(cases)

    told = world.ask_cases("a", list(cases), **WANTS_USAGE)

    for case, each in told.items():
        assert each.is_whole, (case, each.text)
        assert each.text == told[f"{case.partition('/')[0]}/whole"].text, case
    assert all(told[f"{name}/whole"].said == TEXT for name in GOLDEN if name != "utf-8")
    assert told["utf-8/whole"].said == "Grüße, 水門 🚢"


@pytest.mark.parametrize(
    "toxic",
    [Toxic(slice=1), Toxic(bandwidth=8_000), Toxic(latency=0.02)],
    ids=["one_byte_a_packet", "slowly", "late"],
)
def test_12_a_bad_line_changes_nothing(world: Bench, toxic: Toxic) -> None:
    world.line.toxic = toxic

    told = world.ask_both("far")

    assert all(each.is_whole and each.said == TEXT for each in told)
    assert {each.attempts for each in told} == {1}


# Row 16

BAD_CHUNKS: dict[str, bytes] = {
    "no-size": b"\r\nhello\r\n",
    "not-hexadecimal": b"xyz\r\nhello\r\n",
    "negative": b"-5\r\nhello\r\n",
    "signed": b"+5\r\nhello\r\n",
    "with-0x": b"0x5\r\nhello\r\n",
    "of-2^64": b"10000000000000000\r\nhello\r\n",
    "of-a-hundred-digits": b"1" * 100 + b"\r\nhello\r\n",
    "longer-than-said": b"3\r\nhello\r\n",
    "shorter-than-said": b"9\r\nhello\r\n5\r\nhello\r\n",
    "without-its-line-end": b"5\r\nhello5\r\nhello\r\n",
    "nul": b"\0\0\0\0\r\n",
    "noise": bytes(range(128, 256)),
    "another-answer": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
}
EARLY: dict[str, bytes] = {
    "within-a-size": b"5",
    "after-a-size": b"5\r\n",
    "within-a-chunk": b"5\r\nhel",
    "before-its-line-end": b"5\r\nhello",
    "without-a-last-one": b"",
    "within-the-last-one": b"0\r\n",
    "after-a-long-extension": b"5;" + b"x" * 100_000 + b"\r\nhello\r\n",
    "long-before-2^63": b"8000000000000000\r\nhello\r\n",
}
BROKEN = {"upstream_protocol_error"}
ENDED = {"upstream_disconnected", "upstream_truncated"}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_16_chunk_errors_before_the_answer_are_somebody_elses(
    world: Bench, *, stream: bool
) -> None:
    head = HEAD if stream else chunked_head("application/json")
    cases: dict[str, Reply] = {
        name: cut(head + body) for name, body in {**BAD_CHUNKS, **EARLY}.items()
    }
    world.a.says_each(cases)

    taken_over = world.ask_cases("ab", list(cases), stream=stream)
    alone = world.ask_cases("a", list(cases), stream=stream)

    assert {(each.is_whole, each.attempts) for each in taken_over.values()} == {(True, 2)}
    for name, each in alone.items():
        assert each.status == 502
        assert each.code in (ENDED if name in EARLY else BROKEN), name
        assert each.headers["x-lockgate-error-source"] == "upstream"
        assert each.headers["x-should-retry"] == "false"


def test_16_chunk_errors_mid_stream_end_it_with_an_error(world: Bench) -> None:
    said = begun(ROLE, *SAID)
    cases: dict[str, Reply] = {
        name: cut(said + body) for name, body in {**BAD_CHUNKS, **EARLY}.items()
    }
    world.a.says_each(cases)

    for name, told in world.ask_cases("ab", list(cases), stream=True).items():
        assert told.code in (ENDED if name in EARLY else BROKEN), name
        assert_cut(told, 1 + len(SAID), code=told.code or "")


def test_16_trailers_and_extensions_are_borne(world: Bench) -> None:
    pieces = b"".join(b"%x;a=b\r\n%s\r\n" % (len(each), each) for each in STORY)
    world.a.says(HEAD + pieces + b"0\r\nx-checksum: 1\r\nx-more: 2\r\n\r\n")

    assert world.ask("a", stream=True).is_whole
