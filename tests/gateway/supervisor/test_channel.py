"""Two ends that ask each other, whichever of them goes away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.supervisor.channel import Channel, ChannelClosed, Handler, Json, Refused

SOON = 20.0


async def echo(asked: Json) -> Any:
    await asyncio.sleep(asked.get("wait", 0))
    return asked


async def refuse(_: Json) -> Any:
    raise Refused("one reason", "another")


async def break_(_: Json) -> Any:
    raise RuntimeError("a secret")


HANDLERS: dict[str, Handler] = {"echo": echo, "refuse": refuse, "break": break_}


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    async with Channel(one, HANDLERS) as first, Channel(other, HANDLERS) as second:
        yield first, second


async def test_both_ends_ask_and_answers_find_their_questions() -> None:
    async with pair() as (one, other):
        asked = [
            channel.ask("echo", within=SOON, number=number, wait=0.01 * (number % 3))
            for number in range(30)
            for channel in (one, other)
        ]
        answers = await asyncio.gather(*asked)

    assert [answer["number"] for answer in answers] == [n for n in range(30) for _ in "ab"]


async def test_an_answer_may_be_as_large_as_all_metrics_of_a_worker() -> None:
    large = "x" * (3 * 1024 * 1024)
    async with pair() as (one, _):
        assert (await one.ask("echo", within=SOON, large=large))["large"] == large


async def test_a_refusal_comes_with_its_reasons() -> None:
    async with pair() as (one, _):
        with pytest.raises(Refused) as refused:
            await one.ask("refuse", within=SOON)
        assert refused.value.reasons == ("one reason", "another")
        assert (await one.ask("echo", within=SOON)) == {}


async def test_what_breaks_is_told_to_the_loop_and_refused_without_particulars() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with pair() as (one, _):
        with pytest.raises(Refused, match="break failed: RuntimeError") as refused:
            await one.ask("break", within=SOON)
        with pytest.raises(Refused, match="no question"):
            await one.ask("nothing", within=SOON)

    assert "secret" not in str(refused.value)
    assert [str(each["exception"]) for each in told] == ["a secret"]


async def test_who_does_not_answer_in_time_is_not_waited_for_and_nothing_is_kept() -> None:
    async with pair() as (one, _):
        with pytest.raises(TimeoutError):
            await one.ask("echo", within=0.01, wait=0.05)
        await asyncio.sleep(0.1)  # the late answer finds nobody
        assert one._waiting == {}
        assert (await one.ask("echo", within=SOON, number=1)) == {"number": 1}


async def test_the_end_of_one_is_known_to_the_other_and_fails_its_questions() -> None:
    one, other = socket.socketpair()
    async with Channel(one, {}) as first:
        async with Channel(other, HANDLERS), asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(_failing(first))
            await asyncio.sleep(0.01)
            other.shutdown(socket.SHUT_RDWR)
            await asyncio.wait_for(first.closed.wait(), SOON)
        assert isinstance(asked.result(), ChannelClosed)
        with pytest.raises(ChannelClosed):
            await first.ask("echo", within=SOON)


async def _failing(channel: Channel) -> Exception | None:
    try:
        await channel.ask("echo", within=SOON, wait=SOON)
    except ChannelClosed as error:
        return error
    return None


@pytest.mark.parametrize("line", [b"nonsense\n", b"{}\n", b'{"ask": 1}\n', b"\xff\n", b"[]\n"])
async def test_a_line_that_none_of_ours_has_written_ends_it(line: bytes) -> None:
    one, other = socket.socketpair()
    with other:
        async with Channel(one, HANDLERS) as channel:
            other.sendall(line)
            await asyncio.wait_for(channel.closed.wait(), SOON)


async def test_a_line_goes_out_as_it_is_and_after_the_end_nowhere() -> None:
    one, other = socket.socketpair()
    with other:
        async with Channel(one, {}) as channel:
            channel.send(source=None)
            await asyncio.sleep(0.01)
        channel.send(source=1)
        assert json.loads(other.recv(100)) == {"source": None}


async def test_it_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with pair() as (one, _):
        with pytest.raises(TimeoutError):
            await one.ask("echo", within=0.01, wait=SOON)
    assert asyncio.all_tasks() == before
