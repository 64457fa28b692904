"""What every book promises: each test runs in process and on Redis, under one clock."""

import pytest

from gateway.quarantine.book import MOST, Book
from tests.support.kills import is_up
from tests.support.ticker import Ticker

MINUTE = 60_000


async def test_at_first_nobody_has_killed_anything(book: Book) -> None:
    assert not await is_up(book.flag("acme"))
    assert await book.kills("acme", "f1") == 0


async def test_different_backends_are_counted_and_the_same_one_once(book: Book) -> None:
    counts = [await book.add("acme", "f1", backend) for backend in ("a", "a", "b", "a", "c")]

    assert counts == [1, 1, 2, 2, 3]
    assert await book.kills("acme", "f1") == 3
    assert await is_up(book.flag("acme"))


async def test_requests_and_tenants_are_told_apart(book: Book) -> None:
    await book.add("acme", "f1", "a")
    await book.add("acme", "f2", "a")
    await book.add("beta", "f1", "b")

    assert [await book.kills("acme", f"f{n}") for n in range(4)] == [0, 1, 1, 0]
    assert await book.kills("beta", "f2") == 0
    assert not await is_up(book.flag("gamma"))


async def test_a_kill_counts_for_one_window(book: Book, ticker: Ticker) -> None:
    await book.add("acme", "f1", "a")
    ticker.ms += 4 * MINUTE
    await book.add("acme", "f1", "b")
    seen = []
    for _ in range(3):
        seen.append(await book.kills("acme", "f1"))
        ticker.ms += 4 * MINUTE

    assert seen == [2, 2, 1]
    assert await book.kills("acme", "f1") == 0


async def test_a_kill_that_is_seen_again_counts_from_then_on(book: Book, ticker: Ticker) -> None:
    await book.add("acme", "f1", "a")
    ticker.ms += 9 * MINUTE
    await book.add("acme", "f1", "a")
    ticker.ms += 9 * MINUTE

    assert await book.kills("acme", "f1") == 1


async def test_an_acquittal_is_of_one_request_of_one_tenant_and_of_all_its_kills(
    book: Book,
) -> None:
    for backend in ("a", "b"):
        await book.add("acme", "f1", backend)
        await book.add("acme", "f2", backend)
        await book.add("beta", "f1", backend)

    await book.acquit("acme", "f1")
    await book.acquit("nobody", "f1")

    assert [await book.kills("acme", f"f{n}") for n in (1, 2)] == [0, 2]
    assert await book.kills("beta", "f1") == 2


async def test_with_the_last_kill_the_flag_goes_down(book: Book) -> None:
    await book.add("acme", "f1", "a")

    await book.acquit("acme", "f1")

    assert not await is_up(book.flag("acme"))


@pytest.mark.parametrize("more", [1, 40])
async def test_a_tenants_kills_are_bounded_and_the_oldest_make_way(
    book: Book, ticker: Ticker, more: int
) -> None:
    for number in range(MOST + more):
        ticker.ms += 1
        await book.add("acme", f"f{number:04}", "a")

    kept = [await book.kills("acme", f"f{number:04}") for number in range(MOST + more)]

    assert kept == [0] * more + [1] * MOST


async def test_one_that_is_seen_again_hides_none_that_is_over(book: Book, ticker: Ticker) -> None:
    await book.add("acme", "f1", "a")
    ticker.ms += MINUTE
    await book.add("acme", "f1", "b")
    ticker.ms += 8 * MINUTE
    await book.add("acme", "f1", "a")
    ticker.ms += 3 * MINUTE

    assert await book.kills("acme", "f1") == 1
