"""A stream that breaks off goes on elsewhere, and its client gets the one answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.continuation import Said
from gateway.contract.errors import (
    ProviderDisconnected,
    ProviderDiverged,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
)
from gateway.contract.provider import Operation
from gateway.pipeline import resume
from gateway.pipeline.events import EventStream, Tally
from gateway.pipeline.resume import MAX_RESUMPTIONS, ResumingStream
from providers.reader import StreamReader
from tests.support.resuming import (
    CHAT,
    DONE,
    PROMPT,
    TEXT,
    Client,
    Others,
    Server,
    after_first_content,
    event,
    events_of,
)

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

tokens = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
        st.sampled_from(
            ["\n", "\n\n", " ", " a", "b ", "é", "👩‍🚀", "漢", "\\", '"', "\r\n", "\u2028"]
        ),
    ),
    min_size=1,
    max_size=12,
)
BROKEN = ProviderDisconnected("reset")


@given(tokens, st.sampled_from(["chat", "completion"]), st.booleans(), st.data())
async def test_wherever_a_stream_is_cut_the_text_is_the_uncut_one(
    said: list[str], operation: Operation, hide_usage: bool, data: st.DataObject
) -> None:
    body = CHAT if operation == "chat" else TEXT
    servers = [Server(said, operation, number=number) for number in range(3)]
    whole = servers[0].stream()
    cut = data.draw(st.integers(after_first_content(whole), len(whole) - 1))
    packets = data.draw(st.integers(1, 200))

    def second(begun: str) -> list[bytes | ProviderError]:
        rest = servers[1].stream(begun, prompt=50)
        again = data.draw(st.integers(after_first_content(rest), len(rest)))
        return [rest] if again == len(rest) else [rest[:again], BROKEN]

    others = Others(body, operation, second, lambda begun: [servers[2].stream(begun, prompt=60)])
    client = Client(hide_usage=hide_usage)
    first = [whole[at : min(at + packets, cut)] for at in range(0, cut, packets)]

    try:
        await client.read(events_of(*first, BROKEN), others)
    except ProviderDisconnected:
        assert any(each.get("finish_reason") for each in client.choices)  # nothing was missing
        assert client.text == "".join(said)
        return

    assert client.text == "".join(said)
    client.check_it_is_one()
    usages = [each["usage"] for each in client.got if each.get("usage")]
    assert len(usages) == (not hide_usage)
    for usage in usages:
        assert usage["prompt_tokens"] == PROMPT
        assert len(said) <= usage["completion_tokens"] <= len(said) + len(others.said)
        assert usage["total_tokens"] == PROMPT + usage["completion_tokens"]


def cut_after(server: Server, events: int) -> bytes:
    """So many events of a stream."""
    return b"".join(block + b"\n\n" for block in server.stream().split(b"\n\n")[:events])


HELLO = Server(["Hel", "lo", " you", "."])
AGAIN = Server(HELLO.tokens, number=1)


async def read_cut(
    events: int, *streams: Any, error: ProviderError = BROKEN, first: Server = HELLO
) -> tuple[Client, Others]:
    client, others = Client(), Others(CHAT, "chat", *streams)
    await client.read(events_of(cut_after(first, events), error), others)
    return client, others


async def test_what_goes_on_is_told_what_was_said_and_what_it_took() -> None:
    client, others = await read_cut(3, lambda begun: [AGAIN.stream(begun)])

    assert others.said == [Said("Hello", 2, 2)]
    assert others.errors == [BROKEN]
    assert client.got[-1]["usage"]["completion_tokens"] == 4


async def test_an_answer_goes_on_only_so_often() -> None:
    many = Server(["x"] * 99)

    def broken(begun: str) -> list[bytes | ProviderError]:
        return [many.stream(begun)[:600], BROKEN]

    others = Others(CHAT, "chat", *[broken] * (MAX_RESUMPTIONS + 1))
    with pytest.raises(ProviderDisconnected):
        await Client().read(events_of(cut_after(many, 2), BROKEN), others)

    assert len(others.said) == MAX_RESUMPTIONS


async def test_a_token_that_had_no_text_yet_is_not_counted() -> None:
    silent = Server(["Hel", "", "lo"])

    _, others = await read_cut(3, lambda begun: [silent.stream(begun)], first=silent)

    assert others.said == [Said("Hel", 1, 1)]


async def test_white_space_at_the_end_is_not_said_twice() -> None:
    spaced = Server(["One.", "\n", "\n", "Two."])

    client, others = await read_cut(4, lambda begun: [spaced.stream(begun)], first=spaced)

    assert others.said == [Said("One.\n\n", 3, 1)]
    assert client.text == "One.\n\nTwo."
    assert client.got[-1]["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("other", [["One.", " ", "Or"], ["One."], ["One.", "\n", "Or"]])
async def test_what_goes_on_otherwise_does_not_go_on(other: list[str]) -> None:
    spaced = Server(["One.", "\n\n", "Two."])

    with pytest.raises(ProviderDiverged) as raised:
        await read_cut(3, lambda begun: [Server(other).stream(begun)], first=spaced)

    assert not raised.value.harms_health


async def test_text_before_the_end_of_what_fits_is_handed_out() -> None:
    odd = event({"choices": [{"index": 0, "delta": {"reasoning": "hm"}}], "usage": None})

    def going_wrong(begun: str) -> list[bytes]:
        return [AGAIN.stream(begun).replace(b"data: [DONE]\n\n", b"") + odd + DONE]

    client, others = Client(), Others(CHAT, "chat", going_wrong)
    with pytest.raises(ProviderDiverged):
        await client.read(events_of(cut_after(HELLO, 3), BROKEN), others)

    assert client.text == "Hello you."
    assert not client.is_done


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0}]},
        {"reasoning": "hm"},
        {"reasoning_content": "hm", "content": "x"},
        {"refusal": "no"},
        {"content": ["x"]},
    ],
    ids=str,
)
async def test_a_stream_that_told_of_more_than_text_does_not_go_on(delta: dict[str, Any]) -> None:
    told = event({"choices": [{"index": 0, "delta": delta}], "usage": USAGE})
    others = Others(CHAT, "chat", lambda begun: [AGAIN.stream(begun)])

    with pytest.raises(ProviderDisconnected):
        await Client().read(events_of(cut_after(HELLO, 2) + told, BROKEN), others)

    assert others.said == []


@pytest.mark.parametrize(
    "choices",
    [
        [{"index": 1, "delta": {"content": "x"}}],
        [{"index": 0, "delta": {"content": "x"}}, {"index": 1, "delta": {"content": "y"}}],
    ],
)
async def test_a_second_choice_does_not_go_on(choices: list[Any]) -> None:
    told = event({"choices": choices, "usage": USAGE})
    others = Others(CHAT, "chat", lambda begun: [AGAIN.stream(begun)])

    with pytest.raises(ProviderDisconnected):
        await Client().read(events_of(cut_after(HELLO, 2) + told, BROKEN), others)

    assert others.said == []


async def test_a_stream_that_does_not_tell_its_tokens_does_not_go_on() -> None:
    told = event({"choices": [{"index": 0, "delta": {"content": "x"}}]})
    others = Others(CHAT, "chat", lambda begun: [AGAIN.stream(begun)])

    with pytest.raises(ProviderDisconnected):
        await Client().read(events_of(cut_after(HELLO, 2) + told, BROKEN), others)

    assert others.said == []


async def test_a_stream_that_has_its_finish_reason_does_not_go_on() -> None:
    with pytest.raises(ProviderDisconnected):
        await read_cut(6, lambda begun: [AGAIN.stream(begun)])


async def test_a_refusal_of_the_request_itself_does_not_go_on() -> None:
    with pytest.raises(ProviderRejected):
        await read_cut(
            3, lambda begun: [AGAIN.stream(begun)], error=ProviderRejected("no", status=400)
        )


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "MAX_TEXT", 5)
    await read_cut(3, lambda begun: [AGAIN.stream(begun)])

    with pytest.raises(ProviderDisconnected):
        await read_cut(4, lambda begun: [AGAIN.stream(begun)])


async def test_a_cancellation_is_offered_too_for_it_may_be_a_deadline() -> None:
    others = Others(CHAT, "chat")

    async def cancelled() -> AsyncIterator[bytes]:
        yield cut_after(HELLO, 3)
        raise asyncio.CancelledError

    stream = EventStream(cancelled(), StreamReader(lambda _: ProviderFailed("told")), Tally())
    with pytest.raises(asyncio.CancelledError):
        await Client().read(stream, others)

    assert [type(each) for each in others.errors] == [asyncio.CancelledError]


async def test_nobody_goes_on_for_a_client_that_has_left() -> None:
    others = Others(CHAT, "chat", lambda begun: [AGAIN.stream(begun)])
    first = events_of(cut_after(HELLO, 3), BROKEN)
    stream = ResumingStream(first, others, tells_tokens=False)
    stream.joined.take(await first.until_content(1000))

    stream.unwatch()
    with pytest.raises(ProviderDisconnected):
        await stream.next()

    assert others.said == []


async def test_a_client_that_asked_for_the_usage_of_every_event_gets_it_joined() -> None:
    client, others = Client(), Others(CHAT, "chat", lambda begun: [AGAIN.stream(begun, prompt=40)])

    await client.read(events_of(cut_after(HELLO, 3), BROKEN), others, tells_tokens=True)

    told = [
        (each["usage"]["prompt_tokens"], each["usage"]["completion_tokens"]) for each in client.got
    ]
    assert told == [(7, 0), (7, 1), (7, 2), (7, 3), (7, 4), (7, 4), (7, 4)]


async def test_the_only_usage_of_a_stream_is_not_hidden() -> None:
    said = event({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    end = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE})
    client = Client()

    await client.read(events_of(said + end, DONE), Others(CHAT, "chat"))

    assert client.got[-1]["usage"] == USAGE


async def test_comments_pass() -> None:
    def with_comment(begun: str) -> list[bytes]:
        return [b": still here\n\n" + AGAIN.stream(begun)]

    first = events_of(cut_after(HELLO, 3), BROKEN)
    stream = ResumingStream(first, Others(CHAT, "chat", with_comment), tells_tokens=False)
    pieces = stream.joined.take(await first.until_content(1000))
    while not stream.done:
        pieces += await stream.next()

    assert b": still here\n\n" in [raw for raw, _ in pieces]
    await stream.read_out()
