"""The book of one process holds no more than it must."""

from gateway.quarantine.memory import TENANTS, MemoryBook
from tests.support.kills import is_up
from tests.support.ticker import Ticker


async def test_tenants_are_bounded_and_the_one_that_was_quiet_for_longest_makes_way(
    ticker: Ticker,
) -> None:
    book = MemoryBook(600, clock=ticker.seconds)
    await book.add("first", "f1", "a")
    for number in range(TENANTS - 1):
        await book.add(f"t{number}", "f1", "a")
    await book.add("first", "f1", "a")

    await book.add("one-more", "f1", "a")

    assert len(book._tenants) == TENANTS
    assert await is_up(book.flag("first"))
    assert not await is_up(book.flag("t0"))


async def test_what_no_longer_counts_takes_no_memory(ticker: Ticker) -> None:
    book = MemoryBook(600, clock=ticker.seconds)
    await book.add("acme", "f1", "a")
    ticker.ms += 600_000

    assert not await is_up(book.flag("acme"))
    assert not book._tenants


async def test_a_tenant_without_kills_costs_no_memory(ticker: Ticker) -> None:
    book = MemoryBook(600, clock=ticker.seconds)

    for number in range(100):
        await is_up(book.flag(f"t{number}"))
        await book.kills(f"t{number}", "f1")

    assert not book._tenants
