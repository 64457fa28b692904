"""Ends that the store did not answer: repeated until it does, and never forgotten."""

import asyncio

import pytest
import redis

from gateway.contract.errors import LimitsUnavailable
from gateway.limits import unfinished
from gateway.limits.keys import ledger_key, shard_of
from gateway.limits.model import NOTHING, Amounts, Ask, Calendar, Limit, Reservation
from gateway.limits.redis import RedisLimiter
from gateway.limits.scripts import Ending
from tests.support.redis_server import RedisServer

DAILY = (Limit("tenant:acme", "tokens", 1000, Calendar("day")),)
LEDGER = ledger_key(shard_of("acme"))


def ending(name: str, mode: str = "S", used: int = 0, entry: bytes = b"") -> Ending:
    return Ending(Reservation(name, "acme", DAILY), mode, Amounts(used), entry)


async def left(limiter: RedisLimiter) -> int:
    (standing,) = await limiter.standings("acme", DAILY)
    return standing.remaining


async def test_a_repetition_that_fails_is_kept(
    mortal_limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal_limiter._unfinished.later(ending("a"))
    mortal.kill()
    await mortal_limiter._unfinished.repeat()
    assert list(mortal_limiter._unfinished.waiting) == ["a"]

    mortal.start()
    await mortal_limiter._unfinished.repeat()

    assert mortal_limiter._unfinished.waiting == {}


async def test_a_call_that_was_replaced_while_it_was_repeated_is_repeated_again(
    shared: RedisLimiter,
) -> None:
    shared._unfinished.later(ending("a", "C"))
    repeating = asyncio.ensure_future(shared._unfinished.repeat())
    await asyncio.sleep(0)
    shared._unfinished.later(ending("a"))

    await repeating

    assert list(shared._unfinished.waiting) == ["a"]


async def test_a_call_that_makes_no_sense_is_repeated_once(shared: RedisLimiter) -> None:
    shared._unfinished.later(Ending(Reservation("a", "NOT A TENANT", DAILY), "S", NOTHING))

    await shared._unfinished.repeat()

    assert shared._unfinished.waiting == {}


async def test_while_too_much_is_unfinished_nothing_is_admitted_and_nothing_is_forgotten(
    shared: RedisLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "MOST", 2)
    held = await shared.reserve("held", "acme", DAILY, Ask(Amounts(5)))
    for name in ("a", "b"):
        shared._unfinished.later(ending(name))

    with pytest.raises(LimitsUnavailable):
        await shared.reserve("c", "acme", DAILY, Ask(Amounts(5)))
    shared._unfinished.later(Ending(held, "S", Amounts(5)))  # what was begun still ends

    assert shared.counts.behind == 1
    assert list(shared._unfinished.waiting) == ["a", "b", "held"]
    await shared._unfinished.repeat()
    assert await shared.reserve("c", "acme", DAILY, Ask(Amounts(5)))


async def test_what_was_settled_twice_because_its_answer_was_lost_is_charged_once(
    shared: RedisLimiter,
) -> None:
    held = await shared.reserve("r", "acme", DAILY, Ask(Amounts(50)))
    await shared._scripts.end(Ending(held, "S", Amounts(30)))

    shared._unfinished.later(Ending(held, "S", Amounts(30)))
    await shared._unfinished.repeat()

    assert await left(shared) == 970


async def test_a_row_whose_settlement_was_not_answered_goes_to_the_ledger_at_once_and_once(
    mortal_limiter: RedisLimiter, mortal: RedisServer
) -> None:
    rows: list[bytes] = []
    mortal_limiter._unfinished._books = type(mortal_limiter._books)(outbox=rows.append)
    held = await mortal_limiter.reserve("r", "acme", DAILY, Ask(Amounts(50)))
    mortal.freeze()
    await mortal_limiter.settle(held, Amounts(30), entry=b"row")
    assert rows == [b"row"]
    mortal.thaw()

    await mortal_limiter._unfinished.repeat()

    assert rows == [b"row"]
    with redis.Redis.from_url(mortal.url) as raw:
        assert [fields[b"row"] for _, fields in raw.xrange(LEDGER)] == [b"row"]
