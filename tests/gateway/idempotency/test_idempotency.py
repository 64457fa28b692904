"""What a repeat gets, in one process and in several that share a Redis: the same."""

import asyncio

import pytest

from gateway.contract.errors import AnswerPending, IdempotencyConflict
from gateway.idempotency import Claim, Idempotency, Kept
from gateway.idempotency.idempotency import MOST_WAITING
from tests.gateway.idempotency.conftest import PATIENT, Store, answered, claimed, kept, ticket
from tests.support.simulator import eventually


async def processes(store: Store, **settings: float) -> tuple[Idempotency, Idempotency]:
    """The process that runs a request and the one that a repeat comes to, another if it can be."""
    first = await store.process(**settings)
    return first, await store.process(**settings) if store.is_shared else first


async def test_a_repeat_gets_the_answer_of_the_first(store: Store) -> None:
    first, second = await processes(store)

    await answered(first, ticket(), b"answer")

    for repeat in (await kept(second, ticket()), await kept(first, ticket())):
        assert repeat == Kept("first", 200, ((b"content-type", b"text/plain"),), b"answer")


async def test_any_bytes_are_given_again_as_they_were(store: Store) -> None:
    first, second = await processes(store)
    body = bytes(range(256)) * 1000

    await answered(first, ticket(), body)

    assert (await kept(second, ticket())).body == body


async def test_repeats_that_come_while_the_first_runs_wait_for_its_answer(store: Store) -> None:
    first, second = await processes(store)
    claim = await claimed(first, ticket())
    repeats = [
        asyncio.create_task(kept(each, ticket(), str(number)))
        for number, each in enumerate([first, second] * 10)
    ]
    await asyncio.sleep(0.1)
    assert not any(repeat.done() for repeat in repeats)

    async with claim:
        claim.add(b"ans")
        claim.add(b"wer")
        await claim.keep("first", 200, ())

    assert {each.body for each in await asyncio.gather(*repeats)} == {b"answer"}
    assert first.counts.claimed == 1


async def test_if_the_first_comes_to_nothing_one_of_those_that_wait_runs_it(store: Store) -> None:
    first, second = await processes(store)
    claim = await claimed(first, ticket())
    repeats = [
        asyncio.create_task(each.claim(ticket(), str(number), within=PATIENT))
        for number, each in enumerate([first, second] * 5)
    ]
    await asyncio.sleep(0.1)

    async with claim:
        claim.add(b"half of")

    done, _ = await asyncio.wait(repeats, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENT)
    [heir] = [each.result() for each in done]
    assert isinstance(heir, Claim)
    async with heir:
        heir.add(b"answer")
        await heir.keep("heir", 200, ())
    found = [each for each in await asyncio.gather(*repeats) if each is not heir]
    assert {each.body for each in found if isinstance(each, Kept)} == {b"answer"}
    assert len(found) == 9


async def test_one_that_waits_may_leave_and_the_others_wait_on(store: Store) -> None:
    first, second = await processes(store)
    claim = await claimed(first, ticket())
    repeats = [asyncio.create_task(kept(second, ticket(), str(number))) for number in range(3)]
    await asyncio.sleep(0.1)

    repeats[0].cancel()
    await asyncio.sleep(0.1)
    async with claim:
        claim.add(b"answer")
        await claim.keep("first", 200, ())

    left, *others = await asyncio.gather(*repeats, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    assert {each.body for each in others if isinstance(each, Kept)} == {b"answer"}
    assert len(others) == 2


async def test_nobody_waits_longer_than_told(store: Store) -> None:
    first, second = await processes(store)
    async with await claimed(first, ticket()):
        with pytest.raises(AnswerPending):
            await second.claim(ticket(), "second", within=0.1)
    async with await claimed(second, ticket(), "third"):
        pass


@pytest.mark.parametrize("is_running", [True, False])
async def test_another_body_under_the_same_key_is_a_conflict(
    store: Store, is_running: bool
) -> None:
    first, second = await processes(store)
    async with await claimed(first, ticket(body="one")) as claim:
        if not is_running:
            await claim.keep("first", 200, ())
        for process in (first, second):
            with pytest.raises(IdempotencyConflict) as refused:
                await process.claim(ticket(body="other"), "second", within=PATIENT)
            assert refused.value.code == "idempotency_key_reused"


async def test_tenants_and_keys_never_meet_under_the_same_key_and_body(store: Store) -> None:
    first, second = await processes(store)
    await answered(first, ticket())

    for process in (first, second):
        for other in (ticket(tenant="umbrella"), ticket(key="other")):
            async with await claimed(process, other):
                pass


async def test_an_answer_that_is_too_large_is_refused_and_not_run_again(store: Store) -> None:
    first, second = await processes(store, max_answer=10)
    async with await claimed(first, ticket()) as claim:
        claim.add(b"12345678")
        claim.add(b"12345678")
        claim.add(b"1")
        await claim.keep("first", 200, ())

    for process in (first, second):
        with pytest.raises(IdempotencyConflict) as refused:
            await process.claim(ticket(), "second", within=PATIENT)
        assert refused.value.code == "idempotency_answer_gone"
    assert first.table.held == 0


async def test_answers_take_no_more_room_than_they_may_and_the_oldest_go_first(
    store: Store,
) -> None:
    first, second = await processes(store, max_answer=10_000, max_memory=40_000)
    for number in range(10):
        await answered(first, ticket(str(number)), bytes(9000), str(number))
        assert first.table.held <= 40_000

    async def outcome(process: Idempotency, number: int) -> str:
        try:
            return (await kept(process, ticket(str(number)))).request_id
        except IdempotencyConflict as refused:
            return str(refused.code)

    await eventually(lambda: first.counts.dropped == 7, within=PATIENT)
    for process in (first, second):
        told = [await outcome(process, number) for number in range(10)]
        assert told == ["idempotency_answer_gone"] * 7 + ["7", "8", "9"]


async def test_many_repeats_may_wait_for_one_answer_but_not_any_number(alone: Store) -> None:
    process = await alone.process()
    async with await claimed(process, ticket()):
        waiting = [
            asyncio.create_task(process.claim(ticket(), str(number), within=PATIENT))
            for number in range(MOST_WAITING)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(AnswerPending):
            await process.claim(ticket(), "one-too-many", within=PATIENT)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_repeat_after_the_window_is_a_new_request(alone: Store) -> None:
    process = await alone.process(window=60)
    await answered(process, ticket())

    alone.clocks[0].now += 60

    async with await claimed(process, ticket(), "second"):
        pass


async def test_a_process_forgets_the_oldest_of_too_many_keys(alone: Store) -> None:
    process = await alone.process(max_entries=10)
    for number in range(20):
        await answered(process, ticket(str(number)))

    assert len(process.table) == 10
    async with await claimed(process, ticket("9"), "again"):
        pass
    assert (await kept(process, ticket("10"))).body == b"answer"


async def test_what_happened_is_counted(store: Store) -> None:
    process, _ = await processes(store, max_answer=10)
    await answered(process, ticket("kept"))
    await kept(process, ticket("kept"))
    await answered(process, ticket("large"), bytes(11))
    async with await claimed(process, ticket("failed")):
        pass
    with pytest.raises(IdempotencyConflict):
        await process.claim(ticket("kept", "other"), "second", within=PATIENT)

    counts = process.counts
    assert (counts.claimed, counts.replayed, counts.conflicts) == (3, 1, 1)
    assert (counts.kept, counts.freed, counts.too_large, counts.dropped) == (1, 1, 1, 0)
    assert process.events()["store_failures"] == 0
